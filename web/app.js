// The page: what the address asks for is searched and shown.

import { api, isAbort, picturePath } from "./api.js";
import { prepareAccess } from "./access.js";
import { prepareAdd } from "./add.js";
import { emptyView, errorView, hitsView, nameOf, picture, skeletons } from "./cards.js";
import { openDetail, prepareDetail } from "./detail.js";
import { takeDrops } from "./drop.js";
import { byId, count, el, icon } from "./dom.js";
import { prepareKeys } from "./keys.js";
import { Answers, PAGE, fillingSection } from "./section.js";

const EXAMPLES = {
  tiny: ["three bananas on a blue background", "a dog to the left of a cat", "four bicycles on a pink background", "a lion to the left of an ice cream cone"],
  other: ["a dog playing in the snow", "sunset over the sea", "a red bicycle against a wall", "people around a table"],
};

const main = byId("main");
const field = byId("query");
/** Pictures of the reader's own that were searched with, by the number kept in the history entry. */
const ownPictures = new Map();
/** By view and section, so that going back is immediate; emptied when the collection changes. */
const answers = new Answers();
let search = new AbortController();
let latest = null;

// ---- the running service

function showStats(stats) {
  byId("count-images").textContent = count(stats.images_indexed);
  byId("count-texts").textContent = count(stats.texts_indexed);
  byId("model-notice").hidden = stats.model !== "tiny";
  const facts = { Model: stats.model, Dimensions: stats.embedding_dim, Device: stats.device, Precision: stats.precision,
    Runtime: stats.runtime, Store: stats.store, Version: stats.version };
  byId("facts").replaceChildren(...Object.entries(facts).filter(([, value]) => value !== undefined && value !== null)
    .map(([name, value]) => el("div", {}, el("dt", { text: name }), el("dd", { text: String(value) }))));
}

function showExamples() {
  const texts = EXAMPLES[latest?.model === "tiny" ? "tiny" : "other"];
  byId("examples").replaceChildren(...texts.map((text) =>
    el("button", { class: "chip", type: "button", text, on: { click: () => describe(text) } })));
}

let refreshing = null;

/** Ask for the counts again; calls that come while one is on its way share it, and one more follows. */
async function refresh() {
  if (refreshing) {
    refreshing.again = true;
    return;
  }
  refreshing = { again: false };
  try {
    const before = latest?.model;
    latest = await api.stats();
    showStats(latest);
    if (latest.model !== before) showExamples();
  } catch (error) {
    byId("facts").replaceChildren(el("div", {}, el("dt", { text: "Service" }), el("dd", { text: error.detail ?? error.message })));
  } finally {
    const { again } = refreshing;
    refreshing = null;
    if (again) refresh();
  }
}

function changed() {
  answers.clear();
  return refresh();
}

/** What stands above and in the results depends on the counts: wait for them a moment, not for ever. */
const soon = (counts) => Promise.race([counts, new Promise((resolve) => { setTimeout(resolve, 600); })]);

/** An upload is over: the start page shows what came. */
function added() {
  changed();
  if (asked().view === "home") homeView();
}

// ---- the address

function go(address, state = null) {
  history.pushState(state, "", address);
  render();
  scrollTo({ top: 0 });
}

const describe = (text) => go(text.trim() ? `?q=${encodeURIComponent(text.trim())}` : "./");
const lookLike = (hit, show) => go(`?picture=${encodeURIComponent(hit.id)}${show ? `&show=${show}` : ""}`, { name: nameOf(hit) });

function searchWith(file) {
  const number = ownPictures.size + 1;
  ownPictures.set(number, file);
  go("./", { own: number });
}

/** What the address and the history entry ask for. */
function asked() {
  const parameters = new URLSearchParams(location.search);
  const own = history.state?.own;
  if (parameters.get("q")?.trim()) return { view: "text", query: parameters.get("q").trim() };
  if (parameters.get("picture")) {
    return { view: "picture", by: { id: parameters.get("picture") }, name: history.state?.name, show: parameters.get("show") };
  }
  if (ownPictures.has(own)) return { view: "picture", by: { file: ownPictures.get(own) }, own, name: ownPictures.get(own).name };
  return { view: "home" };
}

// ---- what is shown

const actions = {
  similar: (hit) => lookLike(hit),
  texts: (hit) => lookLike(hit, "texts"),
  pictures: (hit) => describe(hit.text),
  removed: (hit) => {
    changed();
    for (const card of main.querySelectorAll(".card")) {
      if (card.dataset.id === hit.id && card.classList.contains(hit.modality === "text" ? "card-text" : "card-picture")) card.parentElement.remove();
    }
    (main.querySelector(".card") ?? field).focus();
  },
};
const open = (hit) => openDetail(hit, actions);

const nothing = {
  image: () => (latest?.images_indexed === 0
    ? emptyView("No pictures yet", "Add some, and find them by describing them.", addButton("Add pictures"))
    : emptyView("Nothing found", "Try other words, or another picture.")),
  text: () => (latest?.texts_indexed === 0
    ? emptyView("No texts yet", "Add captions or descriptions, and pictures find them.", addButton("Add texts"))
    : emptyView("Nothing found", "Try another picture.")),
};
const addButton = (label) => el("button", { class: "button primary", type: "button", text: label, on: { click: () => adding.open() } });

const section = (what) => fillingSection(what, { answers, signal: () => search.signal, open, nothing: nothing[what.kind] });

function textView({ query }) {
  const results = section({
    key: `q:${query}`,
    title: `“${query}”`,
    kind: "image",
    ask: (page, signal) => api.textToImage(query, page, signal),
    note: ({ truncated }) => (truncated ? "The description is longer than the model reads. Only its beginning was used." : ""),
  });
  main.replaceChildren(results.view);
  results.load();
}

function pictureView({ by, own, name, show }) {
  const key = own === undefined ? `picture:${by.id}` : `own:${own}`;
  const shown = el("div", { class: "asked-picture" });
  if (by.file) {
    const img = el("img", { alt: "" });
    const local = URL.createObjectURL(by.file);
    const free = () => URL.revokeObjectURL(local);
    img.addEventListener("load", free, { once: true });
    img.addEventListener("error", () => { free(); img.replaceWith(el("span", { class: "no-picture" }, icon("picture"))); }, { once: true });
    img.src = local;
    shown.append(img);
  } else {
    shown.append(picture(picturePath(by.id), ""));
  }
  const title = el("p", { class: "asked-name", text: name ?? by.id });
  if (name === undefined) {
    api.item("image", by.id, search.signal).then((item) => { title.textContent = nameOf(item); }, () => { /* the sections say it */ });
  }
  const jump = (text, target) => el("button", { type: "button", text, on: { click: () => {
    target().view.scrollIntoView();
    target().heading.focus({ preventScroll: true });
  } } });
  const asking = el("div", { class: "asked" }, shown,
    el("div", { class: "asked-words" }, el("p", { class: "asked-kind", text: by.file ? "Your picture" : "From the collection" }), title,
      el("p", { class: "jumps" }, jump("Pictures", () => pictures), jump("Texts", () => texts))),
    el("button", { class: "icon-button", type: "button", "aria-label": "Clear the picture", on: { click: () => { go("./"); field.focus(); } } }, icon("close")));

  const pictures = section({ key: `${key}:image`, title: "Similar pictures", kind: "image", placeholders: 8,
    ask: (page, signal) => api.similarImages(by, page, signal) });
  const texts = section({ key: `${key}:text`, title: "Matching texts", kind: "text", placeholders: 8,
    ask: (page, signal) => api.imageToText(by, page, signal) });
  main.replaceChildren(asking, el("div", { class: "columns" }, pictures.view, texts.view));
  pictures.load();
  texts.load();
  if (show === "texts") {
    texts.heading.focus({ preventScroll: true });
    if (texts.view.getBoundingClientRect().top > innerHeight / 2) setTimeout(() => texts.view.scrollIntoView());
  }
}

/** The start page: something of what is there. */
async function homeView() {
  const { signal } = search;
  const key = "home";
  const standing = main.querySelector("[data-section=home] .section-body");
  const body = standing ?? el("div", { class: "section-body" }, skeletons("image", 12));
  const show = (hits) => body.replaceChildren(hits.length > 0 ? hitsView(hits, "image", open) : nothing.image());
  if (standing === null) {
    main.replaceChildren(el("section", { class: "section section-image", data: { section: "home" } },
      el("header", { class: "section-head" }, el("h2", { class: "section-title", text: "In the collection" })), body));
  }
  if (answers.has(key)) return show(answers.get(key));
  try {
    const { items } = await api.items("image", PAGE, signal);
    answers.keep(key, items);
    show(items);
  } catch (error) {
    if (!isAbort(error) && !signal.aborted) body.replaceChildren(errorView(error, () => { refresh(); render(); }));
  }
  return undefined;
}

/** `typed` stays in the box, whatever the address asks for. */
function render({ typed = "" } = {}) {
  search.abort();
  search = new AbortController();
  const ask = asked();
  const name = { text: ask.query, picture: ask.name ?? "Picture", home: "" }[ask.view];
  document.documentElement.dataset.view = ask.view === "home" ? "home" : "results";
  document.title = name ? `${name} · Crossmodal` : "Crossmodal";
  field.value = typed || (ask.query ?? "");
  main.dataset.asked = ask.view;
  if (ask.view === "text") textView(ask);
  else if (ask.view === "picture") pictureView(ask);
  else homeView();
}

// ---- wiring

const adding = prepareAdd({ onChanged: changed, onAdded: added });
prepareAccess();
prepareDetail();
prepareKeys({ field, main, stop: () => {
  if (!main.querySelector("[aria-busy]")) return false;
  search.abort();
  main.replaceChildren(emptyView("Search stopped", "Press Enter in the box to start it again."));
  return true;
} });
takeDrops({ onSearch: searchWith, onAdd: adding.add, adding: adding.isOpen });

byId("search-form").addEventListener("submit", (event) => {
  event.preventDefault();
  describe(field.value);
});
byId("home-link").addEventListener("click", (event) => {
  if (event.ctrlKey || event.metaKey || event.shiftKey) return;
  event.preventDefault();
  go("./");
});
byId("pick-picture").addEventListener("click", () => byId("picture-input").click());
byId("picture-input").addEventListener("change", ({ target }) => {
  const [file] = target.files;
  target.value = "";
  if (file) searchWith(file);
});
window.addEventListener("popstate", () => render());
document.addEventListener("keychange", () => {
  // Another key may mean another collection: nothing of the one before stays.
  for (const kind of ["images", "texts"]) byId(`count-${kind}`).textContent = "–";
  main.replaceChildren();
  soon(changed()).then(() => render({ typed: field.value }));
});
document.addEventListener("visibilitychange", () => { if (!document.hidden) refresh(); });

await soon(refresh());
if (latest === null) showExamples();
render({ typed: field.value }); // whoever typed before the service answered is not made to type again
// Where typing brings up no keyboard over the page, it can begin at once.
if (asked().view === "home" && matchMedia("(pointer: fine)").matches) field.focus();
