// A lab's page: its text, its steps as they tick themselves off, hints and questions.
// Markup comes from this program's own Markdown only; everything else goes in as text.

import { command, follow, lights, make, picture } from "./picture.js";

const WORDS = {
  en: {
    "other": "Français", "theme": "Light or dark", "skip": "Skip to the lab", "present": "Projector", "present-title": "The picture alone, large",
    "labs": "Labs", "previous": "Previous lab", "next": "Next lab", "picture": "Your cluster, live", "lost": "The guide has ended",
    "lost-help": "devops-lab guide", "minutes": (count) => `about ${count} min`, "steps-done": (done, all) => `${done} of ${all} steps done`,
    "step": (at, all) => `Step ${at} of ${all}`, "done": "done", "here": "you are here", "later": "later",
    "begin": "Begin this lab", "begin-what": "Its files are written to the directory in which the guide was started, and its steps tick themselves off from then on.",
    "files": "Its files are in", "goto": "Your cluster is not yet where this lab begins. This brings it there:",
    "holds": "holds", "not-yet": "not yet", "could-not-run": "could not run", "expected": "expected", "observed": "observed", "cause": "cause", "look": "look at",
    "watching": "This step ticks itself off as soon as it holds.", "passing": "This is on its way; wait a moment.", "no-cluster": "There is no cluster to look at yet.",
    "hint": "Show a hint", "hint-more": (left) => `One more hint (${left} left)`, "hint-title": (at) => `Hint ${at}`,
    "answer": "Answer", "your-answer": "Your answer", "right": "Right.", "wrong": "Not right.", "noted": "Noted; there is nothing yet to compare it with.",
    "copy": "Copy", "copied": "Copied", "step-told": (heading) => `Done: ${heading}`, "lab-done": "This lab is done.", "to-next": "On to the next lab",
    "loading": "Loading …", "since": "since",
  },
  fr: {
    "other": "English", "theme": "Clair ou sombre", "skip": "Aller au lab", "present": "Projecteur", "present-title": "L’image seule, en grand",
    "labs": "Labs", "previous": "Lab précédent", "next": "Lab suivant", "picture": "Votre cluster, en direct", "lost": "Le guide s’est arrêté",
    "lost-help": "devops-lab guide", "minutes": (count) => `environ ${count} min`, "steps-done": (done, all) => `${done} étapes sur ${all} réussies`,
    "step": (at, all) => `Étape ${at} sur ${all}`, "done": "réussie", "here": "vous êtes ici", "later": "plus tard",
    "begin": "Commencer ce lab", "begin-what": "Ses fichiers sont écrits dans le dossier où le guide a été lancé ; ensuite, ses étapes se cochent toutes seules.",
    "files": "Ses fichiers sont dans", "goto": "Votre cluster n’en est pas encore au départ de ce lab. Ceci l’y amène :",
    "holds": "réussi", "not-yet": "pas encore", "could-not-run": "n’a pas pu s’exécuter", "expected": "attendu", "observed": "observé", "cause": "cause", "look": "à voir",
    "watching": "Cette étape se coche toute seule dès qu’elle est réussie.", "passing": "C’est en cours ; patientez un instant.", "no-cluster": "Il n’y a pas encore de cluster à regarder.",
    "hint": "Voir un indice", "hint-more": (left) => `Encore un indice (il en reste ${left})`, "hint-title": (at) => `Indice ${at}`,
    "answer": "Répondre", "your-answer": "Votre réponse", "right": "C’est juste.", "wrong": "Ce n’est pas cela.", "noted": "C’est noté ; il n’y a encore rien à quoi le comparer.",
    "copy": "Copier", "copied": "Copié", "step-told": (heading) => `Réussie : ${heading}`, "lab-done": "Ce lab est terminé.", "to-next": "Passer au lab suivant",
    "loading": "Chargement …", "since": "depuis",
  },
};
const MARKS = { done: "✓", here: "▸", later: "" };
const VERDICTS = { "holds": "✓", "not-yet": "✗", "could-not-run": "!" };

const $ = (id) => document.getElementById(id);
const token = document.querySelector("meta[name=token]").content;
const stored = localStorage.getItem("devops-lab-language");
let lang = WORDS[stored] ? stored : document.documentElement.lang;
let labs = [];
let lesson = null;
let state = null;
let goto = null;
let linked = true;
let stop = () => {};
const shown = picture($("picture"), lang);

const say = (name, ...values) => {
  const word = WORDS[lang][name];
  return typeof word === "function" ? word(...values) : word;
};

async function ask(path, body) {
  const answer = await fetch(`/api/${path}`, body === undefined ? {} : { method: "POST", headers: { "content-type": "application/json", "x-token": token }, body: JSON.stringify(body) });
  const said = await answer.json().catch(() => ({}));
  if (!answer.ok) {
    toast(said.message ?? answer.statusText);
    throw new Error(said.message ?? answer.statusText);
  }
  return said;
}

let fading;
function toast(text) {
  $("toast").textContent = text;
  clearTimeout(fading);
  fading = setTimeout(() => ($("toast").textContent = ""), 8000);
}

// Markup that this program made of its labs, with a button to copy every block of code.
function html(tag, text, attributes = {}) {
  const element = make(tag, attributes);
  element.innerHTML = text[lang];
  for (const pre of element.querySelectorAll("pre")) {
    pre.tabIndex = 0;
    const button = make("button", { type: "button", class: "copy" }, say("copy"));
    button.addEventListener("click", async () => {
      await navigator.clipboard.writeText(pre.textContent.replace(/\n$/, ""));
      button.textContent = say("copied");
      setTimeout(() => (button.textContent = say("copy")), 1500);
    });
    const block = make("div", { class: "code-block" });
    pre.replaceWith(block);
    block.append(pre, button);
  }
  for (const table of element.querySelectorAll("table")) {
    const wide = make("div", { class: "wide", tabindex: "0", role: "group" });
    table.replaceWith(wide);
    wide.append(table);
  }
  return element;
}

const plain = (text) => {
  const element = document.createElement("template");
  element.innerHTML = text[lang];
  return element.content.textContent;
};

function words() {
  document.documentElement.lang = lang;
  $("skip").textContent = say("skip");
  $("labs").setAttribute("aria-label", say("labs"));
  $("labs-nav").setAttribute("aria-label", say("labs"));
  for (const [id, arrow] of [["previous", "←"], ["next", "→"]]) {
    $(id).replaceChildren(make("span", { "aria-hidden": "true" }, arrow));
    $(id).setAttribute("aria-label", say(id));
    $(id).title = say(id);
  }
  $("present").textContent = say("present");
  $("present").title = say("present-title");
  $("theme").textContent = say("theme");
  $("language").textContent = say("other");
  $("language").lang = lang === "en" ? "fr" : "en";
  $("beside-it").setAttribute("aria-label", say("picture"));
  link(linked);
}

function link(is) {
  linked = is;
  $("link").textContent = is ? "" : `${say("lost")}: ${say("lost-help")}`;
  $("link").hidden = is;
}

function drawLabs() {
  const chosen = lesson?.name;
  $("labs").replaceChildren(...labs.map((lab) => {
    const done = lab.done === lab.steps ? " ✓" : ` · ${lab.done}/${lab.steps}`;
    return make("option", { value: lab.name, selected: lab.name === chosen }, `${lab.title[lang]}${done}`);
  }));
  $("previous").disabled = !lesson?.previous;
  $("next").disabled = !lesson?.next;
}

function drawProgress() {
  const steps = state?.steps ?? [];
  $("progress").replaceChildren(...steps.map((step) => make("i", { class: step.done ? "done" : step.id === state.here ? "here" : "" })));
  $("progress").setAttribute("aria-label", say("steps-done", steps.filter((step) => step.done).length, steps.length));
}

const stateOf = (id) => state?.steps.find((step) => step.id === id);
const look = (id) => (stateOf(id)?.done ? "done" : state?.here === id ? "here" : "later");

// The text; what changes in it has places of its own, so that reading is not disturbed.
function drawLesson() {
  document.title = `${lesson.title[lang]} · devops-lab`;
  const steps = lesson.steps.map((step, at) => {
    const questions = step.questions.map((question) => drawQuestion(step, question));
    return make("section", { class: "step card", id: `step-${step.id}`, "aria-labelledby": `head-${step.id}` },
      make("header", {}, make("span", { class: "tick", "aria-hidden": "true" }), make("div", {}, make("p", { class: "quiet" }, `${say("step", at + 1, lesson.steps.length)} · `, make("span", { class: "where" })), html("h2", step.heading, { id: `head-${step.id}` }))),
      html("div", step.prose, { class: "prose" }), ...questions, make("div", { class: "hints", "aria-live": "polite" }), make("div", { class: "found" }));
  });
  $("lesson").replaceChildren(
    make("header", { class: "lab-head" }, make("h1", {}, lesson.title[lang]), make("p", { class: "quiet" }, say("minutes", lesson.minutes))),
    html("div", lesson.intro, { class: "prose" }), make("div", { class: "start" }), ...steps,
    make("footer", { class: "ending" }),
  );
  drawState();
}

function drawState() {
  drawProgress();
  if (!lesson || !state || state.lab !== lesson.name) return;
  drawStart();
  for (const step of lesson.steps) {
    const section = $(`step-${step.id}`);
    const is = look(step.id);
    section.dataset.state = is;
    section.querySelector(".tick").textContent = MARKS[is] || String(lesson.steps.indexOf(step) + 1);
    section.querySelector(".where").textContent = say(is);
    if (is === "here") section.setAttribute("aria-current", "step");
    else section.removeAttribute("aria-current");
    drawHints(section, step);
    drawAnswers(section, step);
    drawFound(section, step, is);
  }
  drawEnding();
}

// Draws again only what is not what it was.
function anew(element, what, draw) {
  const key = JSON.stringify([lang, what]);
  if (element.dataset.shown === key) return;
  element.dataset.shown = key;
  element.replaceChildren(...draw().filter(Boolean));
}

function drawStart() {
  anew($("lesson").querySelector(".start"), [state.begun, state.workspace, goto], () => {
    if (!state.begun) {
      const button = make("button", { type: "button", class: "first" }, say("begin"));
      button.addEventListener("click", begin);
      return [make("div", { class: "card stack" }, make("p", {}, say("begin-what")), make("div", {}, button))];
    }
    return [
      make("p", { class: "quiet" }, `${say("files")} `, make("code", {}, state.workspace ?? "")),
      goto ? make("div", { class: "card stack" }, make("p", {}, say("goto")), command(goto, lang)) : null,
    ];
  });
}

async function begin() {
  const begun = await ask("begin", { lab: lesson.name });
  goto = begun.goto;
  take(begun.state);
  $(`step-${state.here ?? lesson.steps[0].id}`)?.scrollIntoView({ block: "start" });
}

function drawHints(section, step) {
  const seen = stateOf(step.id);
  const is = look(step.id);
  anew(section.querySelector(".hints"), [seen.hints, seen.hintsLeft, is], () => {
    const hints = seen.hints.map((hint, at) => make("div", { class: "hint" }, make("b", {}, say("hint-title", at + 1)), html("div", hint, { class: "prose" })));
    if (is !== "done" && seen.hintsLeft > 0) {
      const button = make("button", { type: "button", class: "hint-button" }, seen.hints.length ? say("hint-more", seen.hintsLeft) : say("hint"));
      button.addEventListener("click", async () => take(await ask("hint", { lab: lesson.name, step: step.id })));
      hints.push(make("div", {}, button));
    }
    return hints;
  });
}

function drawQuestion(step, question) {
  const name = `${step.id}-${question.id}`;
  const form = make("form", { class: "question", "data-question": question.id });
  const fields = question.choices.length
    ? question.choices.map((choice) => make("label", { class: "choice" }, make("input", { type: "radio", name, value: choice.value, required: true }), html("span", choice.text)))
    : [make("input", { type: "text", name, required: true, "aria-label": say("your-answer"), inputmode: question.number ? "decimal" : null, autocomplete: "off", maxlength: 200 })];
  form.append(make("fieldset", {}, html("legend", question.ask), ...fields), make("div", { class: "row" }, make("button", {}, say("answer")), make("span", { class: "verdict", role: "status" })));
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    const value = new FormData(form).get(name);
    const said = await ask("answer", { lab: lesson.name, step: step.id, question: question.id, value });
    form.dataset.judged = "";
    judged(form, said.right, said.why);
    take(said.state);
  });
  return form;
}

function judged(form, right, why) {
  const verdict = form.querySelector(".verdict");
  verdict.className = `verdict ${right === true ? "good" : right === false ? "bad" : ""}`;
  verdict.replaceChildren(make("b", {}, right === true ? `✓ ${say("right")}` : right === false ? `✗ ${say("wrong")}` : say("noted")), " ");
  if (why) verdict.append(html("span", why));
}

function drawAnswers(section, step) {
  for (const answer of stateOf(step.id).answers) {
    const form = section.querySelector(`form[data-question="${CSS.escape(answer.question)}"]`);
    if (!form) continue;
    const key = JSON.stringify([answer.value, answer.right]);
    if (form.dataset.answer === key) continue;
    form.dataset.answer = key;
    const field = form.querySelector(`input[type=radio][value="${CSS.escape(answer.value)}"]`) ?? form.querySelector("input[type=text]");
    if (field?.type === "radio") field.checked = true;
    else if (field && document.activeElement !== field) field.value = answer.value;
    // What a record judged just now, only the judgement itself knows.
    if (!("judged" in form.dataset && answer.right === null)) judged(form, answer.right, answer.why);
  }
}

function drawFound(section, step, is) {
  const seen = stateOf(step.id);
  const times = (checks) => checks.map(({ since, ...rest }) => rest);
  anew(section.querySelector(".found"), [is, seen.verdict, seen.passing, times(seen.checks)], () => {
    if (is !== "here") return [];
    if (!seen.verdict) return [make("p", { class: "quiet" }, say("no-cluster"))];
    const checks = seen.checks.map((check) => {
      const row = (name, text) => (text ? [make("dt", {}, say(name)), make("dd", {}, text)] : []);
      const facts = check.verdict === "holds" ? [] : [...row("expected", check.expected?.[lang]), ...row("observed", check.observed?.[lang]), ...row("cause", check.cause?.[lang]), ...row("look", check.look ? command(check.look, lang) : null)];
      return make("li", { "data-verdict": check.verdict }, make("p", {}, make("span", { class: "tone", "aria-hidden": "true" }, VERDICTS[check.verdict]), make("b", {}, check.verdict === "holds" ? check.observed?.[lang] ?? "" : say(check.verdict)), make("span", { class: "quiet" }, ` ${check.name}`)), facts.length ? make("dl", {}, ...facts) : null);
    });
    return [make("p", { class: "quiet" }, say(seen.passing ? "passing" : "watching")), make("ul", { class: "checks" }, ...checks)];
  });
}

function drawEnding() {
  const all = state.steps.every((step) => step.done);
  anew($("lesson").querySelector(".ending"), [all, lesson.next], () => {
    if (!all) return [];
    const on = lesson.next ? make("button", { type: "button", class: "first" }, `${say("to-next")} →`) : null;
    on?.addEventListener("click", () => open(lesson.next));
    return [make("div", { class: "card stack done-card" }, make("h2", {}, `✓ ${say("lab-done")}`), html("div", lesson.ending, { class: "prose" }), on ? make("div", {}, on) : null)];
  });
}

function take(news) {
  if (!lesson || news.lab !== lesson.name) return;
  const before = state?.lab === news.lab ? state : null;
  state = news;
  const done = before ? news.steps.filter((step) => step.done && !before.steps.find((it) => it.id === step.id)?.done) : [];
  if (done.length) {
    const last = lesson.steps.find((step) => step.id === done[done.length - 1].id);
    $("told").textContent = say("step-told", plain(last.heading));
    if (news.steps[0].done) goto = null;
  }
  drawState();
  // A reader who is at the step that is done is taken to the next one, nobody else.
  const at = done.length ? $(`step-${done[done.length - 1].id}`).getBoundingClientRect() : null;
  const next = news.here ? $(`step-${news.here}`) : $("lesson").querySelector(".ending");
  if (at && at.bottom > 0 && at.top < innerHeight && !$("lesson").contains(document.activeElement?.closest("form"))) {
    const calm = matchMedia("(prefers-reduced-motion: reduce)").matches;
    next?.scrollIntoView({ block: "nearest", behavior: calm ? "auto" : "smooth" });
  }
}

async function open(name, push = true) {
  stop();
  lesson = await ask(`labs/${encodeURIComponent(name)}`);
  state = null;
  goto = null;
  if (push) history.pushState({}, "", `/lab/${encodeURIComponent(name)}`);
  drawLabs();
  drawLesson();
  scrollTo(0, 0);
  if (push) $("lesson").focus({ preventScroll: true });
  let first = true;
  stop = follow(`/api/live?lab=${encodeURIComponent(name)}`, {
    picture: shown.show,
    labs(news) {
      labs = news.labs;
      drawLabs();
    },
    state(news) {
      take(news);
      if (first && news.here && news.steps.some((step) => step.done)) $(`step-${news.here}`).scrollIntoView({ block: "start" });
      first = false;
    },
  }, link);
}

const asked = () => /^\/lab\/([^/]+)/.exec(location.pathname)?.[1];
$("labs").addEventListener("change", () => open($("labs").value));
$("previous").addEventListener("click", () => open(lesson.previous));
$("next").addEventListener("click", () => open(lesson.next));
$("theme").addEventListener("click", lights());
$("language").addEventListener("click", () => {
  lang = lang === "en" ? "fr" : "en";
  localStorage.setItem("devops-lab-language", lang);
  shown.speak(lang);
  words();
  drawLabs();
  if (lesson) drawLesson();
});
addEventListener("popstate", () => open(asked() ?? labs[0].name, false));

words();
const known = await ask("labs");
labs = known.labs;
await open(asked() ?? known.next ?? labs[0].name, false);
