// The live picture of a cluster. Whoever has a place for it calls `picture(element, "en")` and
// hands it what `/api/picture` answers, or lets `follow` do that whenever something changes.
// Everything from the cluster goes in as text, never as markup.

const WORDS = {
  en: {
    "gateway": "Load balancer", "users": "Users", "nodes": "Nodes", "events": "What happened",
    "port": "port", "no-route": "nothing is routed here yet", "wanted": "asked for", "measured": "measured",
    "no-traffic": "no requests at the moment", "no-gateway": "The cluster has no load balancer yet.",
    "no-events": "Nothing yet.", "no-nodes": "No nodes yet.", "no-pods": "no pods",
    "waiting-pods": "Waiting for a node", "more-pods": (count) => `and ${count} more`, "more-nodes": (count) => `and ${count} more nodes`,
    "requests": "Requests", "errors": "Errors", "latency": "Latency", "per-second": "/s",
    "ready-of": (ready, pods) => `${ready} of ${pods} ready`, "pods-ready": (ready, pods) => `${ready}/${pods} pods ready`,
    "restarts": (count) => (count === 1 ? "started again once" : `started again ${count} times`),
    "node-ready": "ready", "node-cordoned": "no new pods", "node-lost": "does not answer",
    "pod-ready": "ready", "pod-unready": "not ready", "pod-starting": "starting", "pod-waiting": "no node", "pod-failing": "failing",
    "pod-ending": "ending", "pod-lost": "lost", "pod-done": "done",
    "connecting": "Looking for your cluster …", "link-lost": "The guide has ended. Start it again with:", "copy": "Copy", "copied": "Copied",
    "minutes": (count) => `last ${count} min`, "now": "now", "version": "version", "old-picture": "What you see is how it was last.",
    "others": "to", "times": (count) => `×${count}`,
  },
  fr: {
    "gateway": "Répartiteur de charge", "users": "Utilisateurs", "nodes": "Nœuds", "events": "Ce qui s’est passé",
    "port": "port", "no-route": "rien n’est encore dirigé ici", "wanted": "demandé", "measured": "mesuré",
    "no-traffic": "aucune requête en ce moment", "no-gateway": "Le cluster n’a pas encore de répartiteur de charge.",
    "no-events": "Rien pour l’instant.", "no-nodes": "Pas encore de nœuds.", "no-pods": "aucun pod",
    "waiting-pods": "En attente d’un nœud", "more-pods": (count) => `et ${count} autres`, "more-nodes": (count) => `et ${count} autres nœuds`,
    "requests": "Requêtes", "errors": "Erreurs", "latency": "Latence", "per-second": "/s",
    "ready-of": (ready, pods) => `${ready} sur ${pods} prêts`, "pods-ready": (ready, pods) => `${ready}/${pods} pods prêts`,
    "restarts": (count) => (count === 1 ? "relancé une fois" : `relancé ${count} fois`),
    "node-ready": "prêt", "node-cordoned": "plus de nouveaux pods", "node-lost": "ne répond pas",
    "pod-ready": "prêt", "pod-unready": "pas prêt", "pod-starting": "démarre", "pod-waiting": "sans nœud", "pod-failing": "en échec",
    "pod-ending": "s’arrête", "pod-lost": "perdu", "pod-done": "terminé",
    "connecting": "À la recherche de votre cluster …", "link-lost": "Le guide s’est arrêté. Relancez-le avec :", "copy": "Copier", "copied": "Copié",
    "minutes": (count) => `${count} dernières min`, "now": "maintenant", "version": "version", "old-picture": "Vous voyez le dernier état connu.",
    "others": "vers", "times": (count) => `×${count}`,
  },
};
// A state is told by its mark and its word; colour comes third.
const MARKS = { ready: "✓", unready: "○", starting: "…", waiting: "–", failing: "✗", ending: "↓", lost: "?", done: "■" };
const NODE_MARKS = { ready: "✓", cordoned: "–", lost: "✗" };
const LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ";
const COLOURS = 6;
// Shares below this, in per cent, have their words beside the bar: there is no room in it.
const THIN = 27;
const SVG = "http://www.w3.org/2000/svg";

// An element with attributes and children; strings are text.
export function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (value !== null && value !== undefined && value !== false) element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.filter((child) => child !== null && child !== undefined));
  return element;
}

function draw(tag, attributes = {}, ...children) {
  const element = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children);
  return element;
}

// Has `parent` hold one element per item, keeping those that are there: what stays, stays where
// the eye has it, and only what is new is announced.
function keep(parent, items, key, create, update) {
  const known = new Map([...parent.children].map((child) => [child.dataset.key, child]));
  let after = null;
  for (const item of items) {
    const name = key(item);
    let element = known.get(name);
    if (element) known.delete(name);
    else {
      element = create(item);
      element.dataset.key = name;
    }
    update?.(element, item);
    const place = after ? after.nextSibling : parent.firstChild;
    if (place !== element) parent.insertBefore(element, place);
    after = element;
  }
  for (const gone of known.values()) gone.remove();
}

function put(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

// A command with a button that copies it.
export function command(text, lang) {
  const say = (name) => WORDS[lang][name];
  const button = make("button", { type: "button", class: "copy" }, say("copy"));
  button.addEventListener("click", async () => {
    await navigator.clipboard.writeText(text);
    button.textContent = say("copied");
    setTimeout(() => (button.textContent = say("copy")), 1500);
  });
  return make("span", { class: "command" }, make("code", {}, text), button);
}

const percent = (value) => (value > 0 && value < 1 ? "<1 %" : value > 99 && value < 100 ? ">99 %" : `${Math.round(value)} %`);
const number = (value, lang) => value.toLocaleString(lang, { maximumFractionDigits: value < 10 ? 1 : 0 });
const milliseconds = (value, lang) => (value >= 1 ? `${number(value, lang)} s` : `${number(value * 1000, lang)} ms`);
const letter = (slot) => LETTERS[slot % LETTERS.length];
const colour = (slot) => String(slot % COLOURS);

export function picture(root, lang) {
  let last = null;
  const say = (name, ...values) => {
    const word = WORDS[lang][name] ?? name;
    return typeof word === "function" ? word(...values) : word;
  };
  const parts = {};
  const part = (name, tag, attributes) => (parts[name] = make(tag, attributes));

  function build() {
    root.classList.add("picture");
    const title = (name) => make("h2", { id: `pic-${name}` }, say(name));
    const section = (name, ...inside) => make("section", { class: `pic-${name}`, "aria-labelledby": `pic-${name}` }, title(name), ...inside);
    const chart = (name) =>
      make("figure", { class: "chart" }, make("figcaption", {}, make("span", {}, say(name)), part(`${name}-now`, "b", {}), part(`${name}-aside`, "span", { class: "quiet" })), (parts[`${name}-chart`] = draw("svg", { viewBox: "0 0 200 48", preserveAspectRatio: "none", role: "img" })));
    root.replaceChildren(
      part("notice", "div", { class: "notice", role: "status" }),
      make("div", { class: "pic-body" },
        section("gateway", part("listeners", "div", { class: "listeners" }), make("div", { class: "charts" }, chart("requests"), chart("errors"), chart("latency"))),
        make("section", { class: "pic-nodes", "aria-labelledby": "pic-nodes" }, make("header", {}, title("nodes"), part("apps", "ul", { class: "apps" })), part("grid", "ul", { class: "grid" }), part("more", "p", { class: "quiet" })),
        section("events", make("div", { class: "story", role: "log", "aria-live": "polite", "aria-relevant": "additions", "aria-labelledby": "pic-events", tabindex: "0" }, part("story", "ol", {})))),
    );
    if (last) show(last);
  }

  function show(picture) {
    last = picture;
    root.dataset.state = picture.cluster.state;
    notice(picture.cluster);
    listeners(picture.listeners);
    charts(picture.rates);
    apps(picture.apps);
    nodes(picture);
    story(picture.events);
  }

  function notice(cluster) {
    const key = `${lang} ${cluster.state} ${cluster.command} ${cluster.say?.en}`;
    if (parts.notice.dataset.key === key) return;
    parts.notice.dataset.key = key;
    parts.notice.hidden = cluster.state === "live";
    if (cluster.state === "live") return parts.notice.replaceChildren();
    if (cluster.state === "connecting") return parts.notice.replaceChildren(say("connecting"));
    const old = cluster.state === "gone" ? null : make("p", { class: "quiet" }, say("old-picture"));
    parts.notice.replaceChildren(make("p", {}, cluster.say[lang]), command(cluster.command, lang), ...(old ? [old] : []));
  }

  const swatch = (slot) => make("span", { class: "swatch", "data-slot": colour(slot), "aria-hidden": "true" }, letter(slot));

  function listeners(all) {
    const some = all.length ? all : [{ none: true }];
    keep(parts.listeners, some, (it) => (it.none ? "none" : `${it.gateway}/${it.name}`), () => make("div", { class: "listener" }), (element, it) => {
      if (it.none) return element.replaceChildren(make("p", { class: "quiet" }, say("no-gateway")));
      const head = make("h3", {}, `${it.name} `, make("span", { class: "port" }, `:${it.port}`));
      const routes = it.routes.map(route);
      if (!routes.length) head.append(make("span", { class: "quiet" }, ` ${say("no-route")}`));
      const key = JSON.stringify([lang, it]);
      if (element.dataset.shown === key) return;
      element.dataset.shown = key;
      element.replaceChildren(head, ...routes);
    });
  }

  function route(it) {
    const name = it.matches ? make("code", { class: "matches" }, it.matches) : null;
    const several = it.backends.length > 1;
    const backends = it.backends.map((backend) =>
      make("li", {}, make("span", { class: "quiet" }, "→ "), make("code", {}, backend.service), several ? make("b", {}, ` ${percent(backend.percent)}`) : null, make("span", { class: "quiet" }, ` ${say("pods-ready", backend.ready, backend.pods)}`)),
    );
    const bar = make("div", { class: "shares" });
    for (const share of it.shares) {
      const piece = make("div", { class: "share", "data-slot": colour(share.slot) }, make("span", { class: "letter", "aria-hidden": "true" }, letter(share.slot)), make("span", {}, `${share.version} · ${percent(share.percent)}`));
      piece.style.flexGrow = String(Math.max(share.percent, 0.01));
      piece.title = `${share.app} ${share.version}: ${percent(share.percent)}`;
      if (share.percent < THIN) piece.classList.add("thin");
      bar.append(piece);
    }
    const thin = it.shares.filter((share) => share.percent < THIN);
    const beside = thin.length ? make("ul", { class: "beside" }, ...thin.map((share) => make("li", {}, swatch(share.slot), ` ${share.version} · ${percent(share.percent)}`))) : null;
    const measured = it.shares.length ? bar : make("p", { class: "quiet nothing" }, say("no-traffic"));
    return make("div", { class: "route" },
      make("div", { class: "wanted" }, name, make("ul", { class: "backends", "aria-label": say("wanted") }, ...backends)),
      make("div", { class: "measured", role: "group", "aria-label": say("measured") }, make("span", { class: "quiet" }, say("measured")), measured), beside);
  }

  function charts(rates) {
    const series = rates.series;
    put(parts["requests-now"], `${number(rates.requests, lang)} ${say("per-second")}`);
    put(parts["errors-now"], percent(rates.errors));
    parts["errors-now"].classList.toggle("bad", rates.errors > 0);
    put(parts["latency-now"], rates.p95 === null ? "–" : `p95 ${milliseconds(rates.p95, lang)}`);
    put(parts["latency-aside"], rates.p50 === null ? "" : `p50 ${milliseconds(rates.p50, lang)}`);
    chart(parts["requests-chart"], series.at, [["line", series.requests]], say("requests"), parts["requests-now"].textContent, 1);
    chart(parts["errors-chart"], series.at, [["line bad", series.errors]], say("errors"), parts["errors-now"].textContent, 10);
    chart(parts["latency-chart"], series.at, [["line second", series.p50], ["line", series.p95]], say("latency"), `${parts["latency-now"].textContent} ${parts["latency-aside"].textContent}`, 0.001);
  }

  function chart(svg, at, lines, name, now, least) {
    const span = 300;
    const end = at.length ? at[at.length - 1] : 0;
    const values = lines.flatMap(([, values]) => values.filter((value) => value !== null));
    const top = Math.max(least, ...values) * 1.1;
    const x = (time) => 200 - ((end - time) / span) * 200;
    const y = (value) => 46 - (value / top) * 44;
    const shapes = [draw("line", { class: "axis", x1: 0, x2: 200, y1: 46.5, y2: 46.5 })];
    for (const [look, values] of lines) {
      let path = "";
      let pen = "M";
      values.forEach((value, place) => {
        if (value === null) return (pen = "M");
        path += `${pen}${x(at[place]).toFixed(1)} ${y(value).toFixed(1)}`;
        pen = "L";
      });
      if (path) shapes.push(draw("path", { class: look, d: path, "vector-effect": "non-scaling-stroke" }));
    }
    svg.setAttribute("aria-label", `${name}: ${now}, ${say("minutes", 5)}`);
    svg.replaceChildren(...shapes);
  }

  function apps(all) {
    keep(parts.apps, all, (app) => app.name, () => make("li", {}), (element, app) => {
      const key = JSON.stringify([lang, app]);
      if (element.dataset.shown === key) return;
      element.dataset.shown = key;
      const versions = app.versions.map((it) => make("span", { class: "version" }, swatch(it.slot), ` ${it.version} `, make("span", { class: "quiet" }, say("ready-of", it.ready, it.pods))));
      element.replaceChildren(make("b", {}, app.name), ...versions);
    });
  }

  function nodes(picture) {
    const all = picture.nodes.map((node) => node);
    if (picture.waiting.length) all.unshift({ name: "", state: "waiting", pods: picture.waiting, morePods: 0 });
    keep(parts.grid, all, (node) => node.name, () => make("li", { class: "node" }, make("h3", {}, make("span", {}), make("span", { class: "badge" })), make("ul", { class: "pods" }), make("p", { class: "quiet" })), (element, node) => {
      element.dataset.state = node.state;
      const [head, pods, more] = element.children;
      put(head.children[0], node.name || say("waiting-pods"));
      put(head.children[1], node.name ? `${NODE_MARKS[node.state]} ${say(`node-${node.state}`)}` : "");
      keep(pods, node.pods, (pod) => `${pod.namespace}/${pod.name}`, create, update);
      put(more, node.morePods ? say("more-pods", node.morePods) : node.pods.length ? "" : say("no-pods"));
    });
    put(parts.more, picture.moreNodes ? say("more-nodes", picture.moreNodes) : "");
  }

  const create = () => make("li", { class: "pod" }, make("span", { class: "letter", "aria-hidden": "true" }), make("span", { class: "what" }), make("span", { class: "state" }), make("span", { class: "id" }));

  function update(element, pod) {
    element.dataset.slot = colour(pod.slot);
    element.dataset.state = pod.state;
    const [mark, what, state, id] = element.children;
    put(mark, letter(pod.slot));
    put(what, pod.version);
    put(state, `${MARKS[pod.state]} ${pod.reason ?? say(`pod-${pod.state}`)}`);
    put(id, pod.restarts ? `↻${pod.restarts} ${pod.name.split("-").pop()}` : pod.name.split("-").pop());
    element.title = [`${pod.name} (${pod.app} ${pod.version})`, say(`pod-${pod.state}`), pod.reason, pod.restarts ? say("restarts", pod.restarts) : null].filter(Boolean).join(" · ");
  }

  const clock = (at) => (at ? new Date(at).toLocaleTimeString(lang, { hour: "2-digit", minute: "2-digit", second: "2-digit", hour12: false }) : "");
  const TONES = { good: "✓", bad: "!", note: "·" };

  function story(events) {
    const some = events.length ? events : [{ none: true }];
    keep(parts.story, some, (it) => (it.none ? "none" : `${it.about} ${it.text.en}`), () => make("li", {}, make("span", { class: "tone", "aria-hidden": "true" }), make("time", {}), make("span", {})), (element, it) => {
      const [tone, time, text] = element.children;
      element.dataset.tone = it.tone ?? "note";
      put(tone, it.none ? "" : TONES[it.tone]);
      put(time, clock(it.at));
      put(text, it.none ? say("no-events") : it.text[lang] + (it.count > 1 ? ` ${say("times", it.count)}` : ""));
    });
  }

  build();
  return {
    show,
    speak(other) {
      lang = other;
      build();
    },
  };
}

// Calls the handler of an event's name whenever it comes, and `link` with whether the server is
// there. The browser connects again by itself; where it gives up, this does.
export function follow(url, handlers, link) {
  let source;
  let retry;
  const open = () => {
    source = new EventSource(url);
    source.addEventListener("open", () => link?.(true));
    source.addEventListener("error", () => {
      link?.(false);
      if (source.readyState === EventSource.CLOSED) retry = setTimeout(open, 2000);
    });
    for (const [name, handler] of Object.entries(handlers)) source.addEventListener(name, (event) => handler(JSON.parse(event.data)));
  };
  open();
  return () => {
    clearTimeout(retry);
    source.close();
  };
}

// What light the page is in: what was chosen, else what the system has.
export function lights() {
  const chosen = localStorage.getItem("devops-lab-theme");
  if (chosen) document.documentElement.dataset.theme = chosen;
  return () => {
    const dark = document.documentElement.dataset.theme ? document.documentElement.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
    const theme = dark ? "light" : "dark";
    document.documentElement.dataset.theme = theme;
    localStorage.setItem("devops-lab-theme", theme);
  };
}
