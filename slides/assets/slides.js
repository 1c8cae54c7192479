// What is seen: which slide, how far into it, in which language. Everything that is shown is on
// the page already; this only turns classes on and off, and keeps windows in step.

const root = document.documentElement;
const live = root.dataset.live !== undefined;
const own = crypto.randomUUID?.() ?? String(Math.random());
const byId = (id) => document.getElementById(id);
let frames = [];
let state = { index: 0, step: 0, language: root.dataset.language, black: false };
let timer = { running: false, elapsed: 0, at: performance.now() };

const WORDS = {
  en: {
    elapsed: "elapsed", planned: "planned", pace: "against the plan", late: "behind", early: "ahead", onTime: "on time",
    slide: "slide", step: "step", notes: "Notes", noNotes: "No notes for this slide.", lost: "Connection lost; trying again …",
    help: "Keys", close: "Close", start: "Start", pause: "Pause", last: "This is the last slide.", audience: "Projector’s window",
    keys: [
      ["→ Space PageDown", "on"], ["← PageUp", "back"], ["Home End", "first, last slide"], ["o", "overview"],
      ["p", "presenter’s view"], ["f", "full screen"], ["l", "other language"], ["b", "both languages, side by side"],
      ["d", "light or dark"], [".", "black"], ["t", "start or pause the time"], ["T", "time back to zero"], ["?", "this help"],
    ],
  },
  fr: {
    elapsed: "écoulé", planned: "prévu", pace: "par rapport au plan", late: "de retard", early: "d’avance", onTime: "à l’heure",
    slide: "diapo", step: "étape", notes: "Notes", noNotes: "Pas de notes pour cette diapo.", lost: "Connexion perdue ; nouvel essai …",
    help: "Touches", close: "Fermer", start: "Démarrer", pause: "Pause", last: "C’est la dernière diapo.", audience: "Fenêtre du projecteur",
    keys: [
      ["→ Espace PageSuiv", "avancer"], ["← PagePréc", "reculer"], ["Origine Fin", "première, dernière diapo"], ["o", "vue d’ensemble"],
      ["p", "vue de présentation"], ["f", "plein écran"], ["l", "autre langue"], ["b", "les deux langues côte à côte"],
      ["d", "clair ou sombre"], [".", "écran noir"], ["t", "démarrer ou suspendre le temps"], ["T", "temps à zéro"], ["?", "cette aide"],
    ],
  },
};
const language = () => (state.language === "fr" ? "fr" : "en");
const words = () => WORDS[language()];
const presenter = () => root.dataset.role === "presenter";
const overview = () => root.classList.contains("overview");
const steps = (index) => Number(frames[index]?.dataset.steps ?? 0);

// Position

function find() {
  frames = [...document.querySelectorAll(".frame")];
}

function fromAddress() {
  const [id, step] = decodeURIComponent(location.hash.slice(1)).split("/");
  const index = frames.findIndex((frame) => frame.id === id);
  return index < 0 ? null : { index, step: Math.min(Number(step) || 0, steps(index)) };
}

function go(change, tell = true) {
  const index = Math.max(0, Math.min(change.index ?? state.index, frames.length - 1));
  const step = Math.max(0, Math.min(change.step ?? state.step, steps(index)));
  const before = state;
  state = { ...state, ...change, index, step };
  show();
  const same = ["index", "step", "language", "black"].every((key) => before[key] === state[key]);
  if (tell && !same) send();
}

function on() {
  if (state.step < steps(state.index)) go({ step: state.step + 1 });
  else if (state.index < frames.length - 1) go({ index: state.index + 1, step: 0 });
}

function back() {
  if (state.step > 0) go({ step: state.step - 1 });
  else if (state.index > 0) go({ index: state.index - 1, step: steps(state.index - 1) });
}

// What is seen

function show() {
  root.dataset.language = state.language;
  root.lang = language();
  root.classList.toggle("black", state.black);
  frames.forEach((frame, at) => {
    const now = at === state.index;
    frame.classList.toggle("current", now);
    frame.classList.toggle("next", at === state.index + 1);
    frame.classList.toggle("stepping", now && !overview());
    if (now) reveal(frame, state.step);
  });
  const frame = frames[state.index];
  if (frame) {
    const hash = `#${frame.id}${state.step ? `/${state.step}` : ""}`;
    if (location.hash !== hash) history.replaceState(null, "", hash);
    document.title = `${frame.querySelector(`.fit[lang="${language()}"]`)?.dataset.title ?? ""} · ${root.dataset.title}`;
  }
  if (presenter()) panel();
  fit();
  picture();
}

function reveal(frame, step) {
  for (const item of frame.querySelectorAll("[data-step]")) {
    item.classList.toggle("shown", Number(item.dataset.step) <= step);
  }
  for (const code of frame.querySelectorAll("[data-groups]")) {
    const group = Math.max(0, Math.min(step - Number(code.dataset.first), Number(code.dataset.groups) - 1));
    for (const line of code.querySelectorAll(".line")) {
      line.classList.toggle("lit", line.dataset.lit.split(" ").includes(String(group)));
    }
  }
}

// Every stage is scaled as a whole, so that all windows break their lines alike.
function fit() {
  const both = state.language === "both";
  const stacked = both && presenter() && !overview();
  for (const frame of frames) {
    const { clientWidth: width, clientHeight: height } = frame;
    if (!width) continue;
    const across = both && !stacked ? 2 : 1;
    const scale = Math.min(width / (1280 * across + (across - 1) * 24), height / (720 * (stacked ? 2 : 1)));
    frame.style.setProperty("--scale", scale.toFixed(5));
  }
}

// The presenter's window

function clock(seconds) {
  const whole = Math.floor(Math.abs(seconds));
  return `${Math.floor(whole / 60)}:${String(whole % 60).padStart(2, "0")}`;
}

function elapsed() {
  return (timer.elapsed + (timer.running ? performance.now() - timer.at : 0)) / 1000;
}

function panel() {
  const all = words();
  const frame = frames[state.index];
  for (const [id, word] of [["word-elapsed", "elapsed"], ["word-planned", "planned"], ["word-pace", "pace"], ["word-slide", "slide"], ["notes-title", "notes"]]) {
    byId(id).textContent = all[word];
  }
  byId("number").textContent = `${state.index + 1} / ${frames.length}`;
  const count = steps(state.index);
  const dots = byId("steps");
  dots.replaceChildren(...Array.from({ length: count }, (_, at) => {
    const dot = document.createElement("i");
    dot.className = at < state.step ? "past" : "";
    return dot;
  }));
  dots.hidden = count === 0;
  byId("step-words").textContent = count ? `${all.step} ${state.step} / ${count}` : "";
  byId("audience").textContent = all.audience;
  const notes = frame?.querySelector(`template.notes[lang="${language()}"]`);
  const target = byId("notes");
  target.lang = language();
  target.replaceChildren(notes?.content.cloneNode(true) ?? "");
  if (!target.textContent.trim()) target.textContent = all.noNotes;
  byId("notes-panel").scrollTop = 0;
  time();
}

// Behind where the slide should have been left already, ahead where it should not have begun yet.
function time() {
  if (!presenter()) return;
  const all = words();
  const seconds = frames.map((frame) => Number(frame.dataset.seconds));
  const before = seconds.slice(0, state.index).reduce((sum, it) => sum + it, 0);
  const now = elapsed();
  byId("elapsed").textContent = clock(now);
  byId("planned").textContent = clock(seconds.reduce((sum, it) => sum + it, 0));
  const off = Math.max(0, now - before - (seconds[state.index] ?? 0)) - Math.max(0, before - now);
  const pace = byId("pace");
  pace.classList.toggle("late", off >= 30);
  pace.classList.toggle("early", off <= -30);
  byId("off").textContent = off >= 30 ? `${clock(off)} ${all.late}` : off <= -30 ? `${clock(off)} ${all.early}` : all.onTime;
  byId("timer").textContent = timer.running ? all.pause : all.start;
  byId("wall").textContent = new Date().toLocaleTimeString(language(), { hour: "2-digit", minute: "2-digit" });
}

// In step with the other windows

let heard = false;
let sending = null;
let waiting = false;
async function post(path, body) {
  const answer = await fetch(path, { method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify(body) });
  if (!answer.ok) throw new Error((await answer.json().catch(() => ({}))).message ?? answer.statusText);
  return answer.status === 204 ? null : answer.json();
}

function send() {
  if (!live) {
    if (!timer.running && timer.elapsed === 0) setTimer(true);
    return;
  }
  if (sending) { waiting = true; return; }
  const { step, language: spoken, black } = state;
  const position = { by: own, deck: root.dataset.deck, slide: frames[state.index].id, step, language: spoken, black };
  sending = post("/api/position", position).catch(() => {}).finally(() => {
    sending = null;
    if (waiting) { waiting = false; send(); }
  });
}

function follow(told) {
  timer = { running: told.running, elapsed: told.elapsed, at: performance.now() };
  time();
  const first = !heard;
  heard = true;
  if (told.by === own || (told.by === "" && told.deck === root.dataset.deck)) return;
  if (told.deck !== root.dataset.deck) {
    // Who opens another deck leads the others there; who is there already is led.
    if (first) { send(); return; }
    location.assign(`/d/${told.deck}${presenter() ? "/present" : ""}#${told.slide}/${told.step}`);
    return;
  }
  const index = frames.findIndex((frame) => frame.id === told.slide);
  if (index >= 0) go({ index, step: told.step, language: told.language, black: told.black }, false);
}

async function anew() {
  const answer = await fetch(location.pathname);
  if (!answer.ok) return;
  const page = new DOMParser().parseFromString(await answer.text(), "text/html");
  const here = frames[state.index]?.id;
  byId("show").replaceChildren(...page.getElementById("show").childNodes);
  find();
  watch();
  const index = frames.findIndex((frame) => frame.id === here);
  go({ index: index < 0 ? Math.min(state.index, frames.length - 1) : index }, false);
}

function listen() {
  const events = new EventSource("/api/live");
  const lost = byId("link");
  events.onopen = () => { lost.textContent = ""; };
  events.onerror = () => { lost.textContent = words().lost; };
  events.addEventListener("position", (event) => follow(JSON.parse(event.data)));
  events.addEventListener("anew", () => { byId("fault").textContent = ""; anew(); });
  events.addEventListener("fault", (event) => { byId("fault").textContent = JSON.parse(event.data).text; });
}

function setTimer(running, zero = false) {
  if (live) { post("/api/timer", { running, zero }).catch(() => {}); return; }
  timer = { running, elapsed: zero ? 0 : elapsed() * 1000, at: performance.now() };
  time();
}

// The live picture, while it is seen

let asking = false;
async function picture() {
  const places = frames[state.index]?.querySelectorAll("[data-cluster]") ?? [];
  if (!live || asking || !places.length || document.hidden) return;
  asking = true;
  try {
    for (const place of places) {
      const spoken = place.closest("[lang]").lang;
      const answer = await fetch(`/api/cluster?language=${spoken}`);
      const html = await answer.text();
      // Made and escaped by our own server.
      if (answer.ok && place.dataset.seen !== html) { place.innerHTML = html; place.dataset.seen = html; }
    }
  } catch { /* the connection's own message says it */ }
  asking = false;
}

async function openLab(button) {
  const said = button.parentElement.querySelector(".said");
  button.disabled = true;
  try {
    const answer = await post("/api/start-lab", { lab: button.dataset.startLab, language: button.closest("[lang]").lang });
    said.textContent = answer.said;
  } catch (error) {
    said.textContent = error.message;
  }
  button.disabled = false;
}

// Keys

function toggleOverview(open = !overview()) {
  root.classList.toggle("overview", open);
  show();
  if (open) frames[state.index]?.querySelector(".cover")?.focus();
  else byId("show").focus();
}

function help() {
  const dialog = byId("help");
  if (dialog.open) { dialog.close(); return; }
  const all = words();
  byId("help-title").textContent = all.help;
  byId("help-close").textContent = all.close;
  byId("help-keys").replaceChildren(...all.keys.flatMap(([keys, what]) => {
    const term = document.createElement("dt");
    for (const key of keys.split(" ")) term.append(Object.assign(document.createElement("kbd"), { textContent: key }));
    return [term, Object.assign(document.createElement("dd"), { textContent: what })];
  }));
  dialog.showModal();
}

function theme() {
  const dark = root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
  root.dataset.theme = dark ? "light" : "dark";
  try { localStorage.setItem("theme", root.dataset.theme); } catch { /* a private window */ }
}

function present() {
  const role = presenter() ? "audience" : "presenter";
  if (live) {
    location.assign(`/d/${root.dataset.deck}${role === "presenter" ? "/present" : ""}${location.hash}`);
    return;
  }
  root.dataset.role = role;
  show();
}

const KEYS = {
  ArrowRight: on, ArrowDown: on, PageDown: on, " ": on, n: on,
  ArrowLeft: back, ArrowUp: back, PageUp: back,
  Home: () => go({ index: 0, step: 0 }),
  End: () => go({ index: frames.length - 1, step: steps(frames.length - 1) }),
  o: () => toggleOverview(),
  Escape: () => toggleOverview(false),
  p: present,
  f: () => (document.fullscreenElement ? document.exitFullscreen() : root.requestFullscreen?.()),
  l: () => go({ language: language() === "en" ? "fr" : "en" }),
  b: () => go({ language: state.language === "both" ? "en" : "both" }),
  d: theme,
  ".": () => go({ black: !state.black }),
  t: () => setTimer(!timer.running),
  T: () => setTimer(false, true),
  "?": help,
};

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || byId("help").open && event.key !== "?") return;
  if (event.target.closest("button, input, a:not(.cover)") && [" ", "Enter"].includes(event.key)) return;
  if (event.key === " " && event.shiftKey) { event.preventDefault(); back(); return; }
  if (event.key === "Enter" && overview()) { event.preventDefault(); toggleOverview(false); return; }
  const act = KEYS[event.key];
  if (!act) return;
  event.preventDefault();
  act();
  if (overview()) frames[state.index]?.querySelector(".cover")?.focus();
});

document.addEventListener("click", (event) => {
  const cover = event.target.closest(".cover");
  const button = event.target.closest("[data-start-lab]");
  if (cover) {
    event.preventDefault();
    root.classList.remove("overview");
    go({ index: frames.indexOf(cover.closest(".frame")), step: 0 });
    byId("show").focus();
  } else if (button) openLab(button);
});

const watcher = new ResizeObserver(fit);
function watch() {
  watcher.disconnect();
  for (const frame of frames) watcher.observe(frame);
}

find();
try { root.dataset.theme = localStorage.getItem("theme") ?? root.dataset.theme ?? ""; } catch { /* a private window */ }
if (!root.dataset.theme) delete root.dataset.theme;
byId("help-close").addEventListener("click", () => byId("help").close());
byId("timer").addEventListener("click", () => setTimer(!timer.running));
addEventListener("hashchange", () => { const there = fromAddress(); if (there) go(there); });
setInterval(() => { time(); picture(); }, 1000);
watch();
go(fromAddress() ?? { index: 0, step: 0 }, false);
if (live) listen();
document.fonts?.ready.then(fit);
root.dataset.ready = "";
