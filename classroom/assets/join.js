// The page to project: how to join.

import { speak, word } from "./words.js";

speak(() => {
  const command = `devops-lab class join ${location.origin} --code … --name ${word("join.name")}`;
  document.getElementById("command").textContent = command;
});
