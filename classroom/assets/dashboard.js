// The dashboard: one picture of the class, redrawn where something changes.
// Whatever a student wrote goes in as text, never as markup.

import { clock, speak, told, word } from "./words.js";

const ROWS = 300;
const FAULTS = ["pod-kill", "node-kill", "node-partition", "node-slow", "gateway-abort", "gateway-delay", "dns-break", "pod-memory"];

let state = null;
let skew = 0;
const $ = (id) => document.getElementById(id);

// An element with attributes and children; strings are text.
function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (value !== null && value !== false) element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.filter((child) => child !== null && child !== undefined));
  return element;
}

async function ask(path, body) {
  const change = body !== undefined;
  const answer = await fetch(`/teacher/${path}`, {
    method: change ? "POST" : "GET",
    headers: change ? { "content-type": "application/json", "x-csrf": state?.csrf ?? "" } : {},
    body: change ? JSON.stringify(body) : undefined,
  });
  if (answer.status === 401) {
    location.reload();
    throw new Error("the session has ended");
  }
  const said = answer.status === 204 ? {} : await answer.json().catch(() => ({}));
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
  fading = setTimeout(() => ($("toast").textContent = ""), 5000);
}

const now = () => Date.now() + skew;
const minutes = (since) => Math.max(0, Math.floor((now() - Date.parse(since)) / 60000));
const present = () => state.students.filter((student) => !student.hasLeft);
const steps = () => state.course.labs.flatMap((lab) => lab.steps.map((step) => ({ lab, step, key: `${lab.name}/${step.id}` })));
const by = (id) => state.students.find((student) => student.id === id);

function heading(lab, step) {
  const found = state.course.labs.find((candidate) => candidate.name === lab);
  const at = found?.steps.find((candidate) => candidate.id === step);
  return at ? `${told(found.title)} · ${told(at.heading)}` : [lab, step].filter(Boolean).join("/");
}

function cellOf(student, key) {
  const here = `${student.lab}/${student.step}` === key;
  if (student.done[key] && !(here && student.verdict === "not-yet")) return "done";
  if (!here) return "";
  if (student.trouble.includes("same-cause") || student.trouble.includes("long")) return "stuck";
  return student.verdict === "not-yet" || student.verdict === "could-not-run" ? "failing" : "here";
}

function order(students) {
  const done = (student) => Object.keys(student.done).length;
  const name = (a, b) => a.name.localeCompare(b.name);
  const orders = {
    name,
    progress: (a, b) => done(b) - done(a) || name(a, b),
    trouble: (a, b) => b.trouble.length - a.trouble.length || b.again - a.again || name(a, b),
  };
  return students.sort(orders[$("sort").value]);
}

function drawHead() {
  const labs = state.course.labs.map((lab) => make("th", { colspan: lab.steps.length, scope: "colgroup", title: told(lab.title) }, told(lab.title)));
  const numbers = state.course.labs.flatMap((lab) =>
    lab.steps.map((step, at) => make("th", { scope: "col", title: told(step.heading) }, String(at + 1), make("span", { class: "visually-hidden" }, ` ${told(step.heading)}`))),
  );
  $("heat").tHead.replaceChildren(
    make("tr", {}, make("th", { class: "who", rowspan: 2, scope: "col" }, word("map.student")), ...labs),
    make("tr", {}, ...numbers),
  );
}

function drawRow(student, columns) {
  const words = { "": "state.none", done: "legend.done", here: "legend.here", failing: "legend.failing", stuck: "legend.stuck" };
  let last = "";
  const cells = columns.map(({ lab, step, key }) => {
    const look = cellOf(student, key);
    const first = lab.name !== last;
    last = lab.name;
    const title = `${told(step.heading)}: ${word(words[look])}`;
    const cell = make("span", { class: `cell ${look}`, title }, make("span", { class: "visually-hidden" }, word(words[look])));
    return make("td", { class: first ? "first" : null }, cell);
  });
  const open = () => showStudent(student.id);
  const badge = student.trouble.length ? make("span", { class: "badge bad" }, "!") : null;
  return make("tr", { "data-student": student.id }, make("th", { scope: "row" }, make("button", { type: "button", onclick: open }, student.name, " ", badge)), ...cells);
}

function drawMap() {
  const wanted = $("find").value.trim().toLowerCase();
  const found = order(present().filter((student) => student.name.toLowerCase().includes(wanted)));
  const columns = steps();
  const rows = found.slice(0, ROWS).map((student) => drawRow(student, columns));
  const nobody = make("tr", {}, make("td", { colspan: columns.length + 1, class: "tools quiet" }, word("map.nobody")));
  $("heat").tBodies[0].replaceChildren(...(rows.length ? rows : [nobody]));
  $("more").hidden = found.length <= ROWS;
  $("more").textContent = word("map.more", found.length - ROWS);
}

function list(id, items, none) {
  $(id).replaceChildren(...(items.length ? items : [make("li", { class: "quiet" }, none)]));
}

function drawHands() {
  const items = state.hands.map((hand) => {
    const change = async (what) => {
      await ask(`api/hands/${hand.student}/${hand.number}/${what}`, {});
      await readAgain();
    };
    const name = make("button", { type: "button", class: "plain name", onclick: () => showStudent(hand.student) }, by(hand.student)?.name ?? "?");
    return make(
      "li",
      {},
      make("div", { class: "row" }, name, make("span", { class: "quiet" }, word("ago", minutes(hand.at)))),
      make("span", { class: "quiet" }, heading(hand.lab, hand.step)),
      hand.note ? make("span", {}, `“${hand.note}”`) : null,
      hand.cause ? make("span", { class: "quiet" }, told(hand.cause)) : null,
      make(
        "div",
        { class: "row" },
        hand.takenBy ? make("span", { class: "badge here" }, word("hands.taken", hand.takenBy)) : make("button", { type: "button", onclick: () => change("take") }, word("hands.take")),
        make("button", { type: "button", onclick: () => change("close") }, word("hands.close")),
      ),
    );
  });
  list("hands", items, word("hands.none"));
}

function drawCommon() {
  const most = Math.max(1, present().length);
  const items = state.common.slice(0, 6).map(({ cause, students }) => {
    const meter = make("div", { class: "meter", "aria-hidden": "true" }, make("i", {}));
    meter.firstChild.style.width = `${(100 * students) / most}%`;
    return make("li", {}, make("div", {}, make("span", { class: "count" }, word("common.students", students)), make("code", {}, cause.id)), make("span", { class: "quiet" }, told(cause)), meter);
  });
  list("common", items, word("common.none"));
}

// Steps by the plan after so many minutes, labs one after the other.
function plannedAfter(passed) {
  let left = passed;
  let done = 0;
  for (const lab of state.course.labs) {
    const share = Math.min(1, left / lab.minutes);
    done += share * lab.steps.length;
    left -= lab.minutes;
    if (left <= 0) break;
  }
  return done;
}

function median(numbers) {
  const sorted = [...numbers].sort((a, b) => a - b);
  return sorted.length ? sorted[Math.floor((sorted.length - 1) / 2)] : 0;
}

function drawPace() {
  const svg = $("pace");
  const draw = (tag, attributes, text) => {
    const element = document.createElementNS("http://www.w3.org/2000/svg", tag);
    for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
    if (text !== undefined) element.textContent = text;
    return element;
  };
  const begun = Date.parse(state.begun);
  const firsts = present().flatMap((student) => Object.values(student.done).map(Date.parse));
  const start = firsts.length ? Math.min(...firsts) : begun;
  const span = Math.max(10, (now() - start) / 60000);
  const all = Math.max(1, steps().length);
  const x = (minute) => 28 + (300 * minute) / span;
  const y = (done) => 96 - (84 * done) / all;
  const times = Array.from({ length: 31 }, (_, at) => (span * at) / 30);
  const doneBy = (minute) => median(present().map((student) => Object.values(student.done).filter((at) => Date.parse(at) <= start + minute * 60000).length));
  const line = (f) => times.map((minute, at) => `${at ? "L" : "M"}${x(minute).toFixed(1)} ${y(f(minute)).toFixed(1)}`).join("");
  svg.replaceChildren(
    draw("path", { class: "axis", d: "M28 8V96H328", fill: "none" }),
    draw("text", { x: 22, y: 14, "text-anchor": "end" }, String(all)),
    draw("text", { x: 328, y: 110, "text-anchor": "end" }, `${Math.round(span)} min`),
    draw("path", { class: "plan", d: line(plannedAfter) }),
    draw("path", { class: "real", d: line(doneBy) }),
  );
  $("pace-words").textContent = word("pace.words", doneBy(span), Math.round(plannedAfter(span)));
}

function drawReady() {
  const unready = present().filter((student) => student.health === "fail" || student.health === "warn");
  const items = unready.slice(0, 20).map((student) => {
    const findings = Object.entries(student.doctor).filter(([, finding]) => finding.level !== "ok");
    return make("li", {}, make("span", { class: "name" }, student.name), ...findings.map(([name, finding]) => make("span", { class: "quiet" }, `${name}: ${finding.text}`)));
  });
  list("ready", items, word("ready.none"));
}

function drawFigures() {
  $("title").textContent = state.title;
  document.title = state.title;
  $("code").textContent = state.code;
  $("present").textContent = present().length;
  $("stuck").textContent = present().filter((student) => student.trouble.length).length;
  $("raised").textContent = state.hands.length;
  $("clock").textContent = clock(now());
}

function drawForms() {
  const select = $("point").elements.step;
  const chosen = select.value;
  select.replaceChildren(
    ...state.course.labs.map((lab) => {
      const options = lab.steps.map((step) => make("option", { value: `${lab.name}/${step.id}` }, told(step.heading)));
      return make("optgroup", { label: told(lab.title) }, ...options);
    }),
  );
  if (chosen) select.value = chosen;
}

function drawAll() {
  if (!state) return;
  drawHead();
  drawForms();
  drawLive();
}

function drawLive() {
  drawFigures();
  drawMap();
  drawHands();
  drawCommon();
  drawPace();
  drawReady();
}

async function showStudent(id) {
  const dialog = $("student");
  const { student, timeline } = await ask(`api/students/${id}`);
  const entry = ({ at, what }) => {
    const place = what.lab ? ` ${heading(what.lab, what.step)}` : "";
    const verdict = what.verdict ? `: ${word(`verdict.${what.verdict}`)}` : "";
    const cause = what.diagnosis ? ` — ${told(what.diagnosis)}` : "";
    const fault = what.fault ? ` ${what.fault}${what.seconds === null ? "" : ` (${what.seconds} s)`}` : "";
    const note = what.note ? ` “${what.note}”` : "";
    return make("li", {}, make("time", { datetime: at }, clock(at)), `${word(`event.${what.kind}`)}${place}${verdict}${cause}${fault}${note}`);
  };
  const send = async (event) => {
    event.preventDefault();
    await ask("api/wish", { student: id, wish: "message", text: event.currentTarget.elements.text.value });
    event.target.reset();
    toast(word("tell.done"));
  };
  dialog.replaceChildren(
    make(
      "div",
      { class: "stack-l" },
      make("div", { class: "row" }, make("h2", { id: "student-name", class: "grow" }, student.name), make("button", { type: "button", onclick: () => dialog.close() }, word("student.close"))),
      make("div", { class: "row" }, ...student.trouble.map((trouble) => make("span", { class: "badge bad" }, word(`trouble.${trouble}`))), student.hints ? make("span", { class: "badge calm" }, word("student.hints", student.hints)) : null, student.hasLeft ? make("span", { class: "badge calm" }, word("student.left")) : null),
      make("p", {}, heading(student.lab ?? "", student.step ?? "")),
      student.cause ? make("p", { class: "quiet" }, told(student.cause)) : null,
      make("form", { class: "row", onsubmit: send }, make("label", { class: "grow" }, make("span", { class: "visually-hidden" }, word("student.message")), make("input", { name: "text", maxlength: 500, required: true, placeholder: word("student.message") })), make("button", {}, word("tell.send").split(" ")[0])),
      make("h2", {}, word("student.timeline")),
      make("ol", { class: "timeline" }, ...timeline.reverse().slice(0, 200).map(entry)),
    ),
  );
  dialog.showModal();
}

function showLabs() {
  const dialog = $("labs");
  const save = async (event) => {
    event.preventDefault();
    const open = [...event.currentTarget.elements].filter((box) => box.checked).map((box) => box.name);
    await ask("api/wish", { wish: "labs", open: open.length === state.course.labs.length ? [] : open });
    dialog.close();
    toast(word("tell.done"));
  };
  const boxes = state.course.labs.map((lab) => make("label", {}, make("span", { class: "row" }, make("input", { type: "checkbox", name: lab.name, checked: true }), told(lab.title))));
  dialog.replaceChildren(make("form", { class: "stack", onsubmit: save }, make("h2", { id: "labs-title" }, word("labs.title")), ...boxes, make("p", { class: "quiet" }, word("labs.all")), make("div", { class: "row" }, make("button", { class: "first" }, word("labs.save")), make("button", { type: "button", onclick: () => dialog.close() }, word("student.close")))));
  dialog.showModal();
}

function showFault() {
  const dialog = $("fault");
  const agreed = present().filter((student) => student.faults).length;
  const go = async (event) => {
    event.preventDefault();
    await ask("api/wish", { wish: "fault", fault: event.currentTarget.elements.fault.value });
    dialog.close();
    toast(word("tell.done"));
  };
  const options = FAULTS.map((fault) => make("option", {}, fault));
  dialog.replaceChildren(make("form", { class: "stack", onsubmit: go }, make("h2", { id: "fault-title" }, word("fault.title")), make("p", {}, word("fault.who", agreed)), make("select", { name: "fault", "aria-labelledby": "fault-title" }, ...options), make("div", { class: "row" }, make("button", { class: "first", disabled: agreed === 0 }, word("fault.go")), make("button", { type: "button", onclick: () => dialog.close() }, word("student.close")))));
  dialog.showModal();
}

async function readAgain() {
  const read = await ask("api/class");
  const first = state === null;
  state = read;
  skew = Date.parse(read.now) - Date.now();
  if (first) drawAll();
  else drawLive();
}

function follow() {
  const live = new EventSource("/teacher/api/live");
  const link = (key, look) => {
    $("link").textContent = word(key);
    $("link").className = `badge ${look}`;
  };
  live.addEventListener("hello", () => {
    link("link.live", "done");
    readAgain();
  });
  live.addEventListener("students", (event) => {
    const { students, common } = JSON.parse(event.data);
    for (const student of students) {
      const at = state.students.findIndex((known) => known.id === student.id);
      if (at < 0) state.students.push(student);
      else state.students[at] = student;
    }
    state.common = common;
    drawLive();
  });
  for (const name of ["hands", "orders", "anew"]) live.addEventListener(name, readAgain);
  live.onerror = () => link("link.lost", "bad");
}

$("find").addEventListener("input", drawMap);
$("sort").addEventListener("change", drawMap);
$("open").addEventListener("click", showLabs);
$("break").addEventListener("click", showFault);
$("message").addEventListener("submit", async (event) => {
  event.preventDefault();
  const form = event.currentTarget;
  await ask("api/wish", { wish: "message", text: form.elements.text.value });
  form.reset();
  toast(word("tell.done"));
});
$("point").addEventListener("submit", async (event) => {
  event.preventDefault();
  const [lab, step] = event.currentTarget.elements.step.value.split("/");
  await ask("api/wish", { wish: "point", lab, step });
  toast(word("tell.done"));
});
$("logout").addEventListener("click", async () => {
  await ask("logout", {});
  location.reload();
});
$("theme").addEventListener("click", () => {
  const root = document.documentElement;
  const dark = root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
  root.dataset.theme = dark ? "light" : "dark";
  localStorage.setItem("devops-lab-theme", root.dataset.theme);
});
const theme = localStorage.getItem("devops-lab-theme");
if (theme) document.documentElement.dataset.theme = theme;

await readAgain();
speak(drawAll);
follow();
// What depends on the time: who is silent, who is long on a step.
setInterval(readAgain, 60000);
