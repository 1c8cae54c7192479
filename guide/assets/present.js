// The picture alone, for the projector.

import { follow, lights, picture } from "./picture.js";

const WORDS = {
  en: { other: "Français", theme: "Light or dark", lost: "The guide has ended" },
  fr: { other: "English", theme: "Clair ou sombre", lost: "Le guide s’est arrêté" },
};
const $ = (id) => document.getElementById(id);
const stored = localStorage.getItem("devops-lab-language");
let lang = WORDS[stored] ? stored : document.documentElement.lang;
let linked = true;
const shown = picture($("picture"), lang);

function words() {
  document.documentElement.lang = lang;
  $("theme").textContent = WORDS[lang].theme;
  $("language").textContent = WORDS[lang].other;
  $("language").lang = lang === "en" ? "fr" : "en";
  $("link").textContent = linked ? "" : WORDS[lang].lost;
  $("link").hidden = linked;
}

$("theme").addEventListener("click", lights());
$("language").addEventListener("click", () => {
  lang = lang === "en" ? "fr" : "en";
  localStorage.setItem("devops-lab-language", lang);
  shown.speak(lang);
  words();
});
words();
follow("/api/live", { picture: shown.show }, (is) => {
  linked = is;
  words();
});
