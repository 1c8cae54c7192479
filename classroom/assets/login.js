// The door to the teachers' page.

import { speak } from "./words.js";

speak(() => {});

document.getElementById("login").addEventListener("submit", async (event) => {
  event.preventDefault();
  const form = event.currentTarget;
  const error = document.getElementById("error");
  error.textContent = "";
  const answer = await fetch("/teacher/login", {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ name: form.elements.name.value, password: form.elements.password.value }),
  });
  if (answer.ok) {
    location.replace("/teacher/");
    return;
  }
  const said = await answer.json().catch(() => ({}));
  error.textContent = said.message ?? answer.statusText;
  form.elements.password.select();
});
