// Every call to the service, and every way it can fail, in one place.

import { sentence } from "./dom.js";

const base = new URL("../", document.baseURI);
const KEY = "crossmodal.key";

/** A failed call: `title` and `detail` are for the reader, `code` is stable, `retryAfter` is in seconds or null. */
export class ApiError extends Error {
  constructor({ title, detail, code, status = 0, requestId = null, retryAfter = null, body = null }) {
    super(detail);
    Object.assign(this, { title, detail, code, status, requestId, retryAfter, body });
  }
}

/** What to say when something other than the service itself answered, by status. */
const PLAIN = {
  401: ["A key is needed", "This service answers only to those who hold a key."],
  403: ["Not allowed", "The key in use does not allow this."],
  404: ["Not found", "The service has nothing at this address."],
  408: ["Too slow", "The upload took too long."],
  413: ["Too many bytes", "What was sent is larger than the service takes."],
  429: ["Too many requests", "The service is at its limit right now."],
  502: ["No answer", "The service could not be reached through its gateway."],
  503: ["Not ready", "The service is not able to answer right now."],
  504: ["Too slow", "The answer did not come in time."],
};

/** Faults of single fields, as far as `detail` does not tell them already. */
const fieldErrors = (errors, detail) => (Array.isArray(errors) ? errors : [])
  .filter(({ msg }) => !detail.includes(msg))
  .map(({ loc, msg }) => ` ${sentence(`${[loc].flat().join(" › ")}: ${msg}`)}`).join("");

async function failure(response) {
  const requestId = response.headers.get("X-Request-ID");
  const seconds = Number.parseInt(response.headers.get("Retry-After") ?? "", 10);
  const [title, detail] = PLAIN[response.status] ?? ["The service failed", `It answered with status ${response.status}.`];
  const problem = { title, detail, code: `http_${response.status}`, status: response.status, requestId,
    retryAfter: Number.isFinite(seconds) ? seconds : null };
  if (/[/+]json/.test(response.headers.get("Content-Type") ?? "")) {
    const body = await response.json().catch(() => null);
    if (body !== null && typeof body === "object") {
      problem.title = String(body.title ?? title);
      const said = String(body.detail ?? detail);
      problem.detail = sentence(said) + fieldErrors(body.errors, said);
      problem.code = String(body.code ?? problem.code);
      problem.requestId = body.request_id ?? requestId;
      problem.body = body;
    }
  }
  return new ApiError(problem);
}

export const isAbort = (error) => error?.name === "AbortError";

// ---- the key: it stays in this tab, and goes to this service and nowhere else

const tell = (event, detail) => document.dispatchEvent(new CustomEvent(event, { detail }));
const key = () => sessionStorage.getItem(KEY);
export const hasKey = () => Boolean(key());

/** Use `value` from now on, or no key if it is null. The event "keychange" tells the page. */
export function setKey(value) {
  if (value === null) sessionStorage.removeItem(KEY);
  else sessionStorage.setItem(KEY, value);
  tell("keychange");
}

/** Ask the reader for a key: the event "keyneeded", with the `reason` why the last one was refused. */
export const askForKey = (reason = "", byReader = false) => tell("keyneeded", { reason, byReader });

/** `sent` was refused, or was null and is needed. Another may have been set meanwhile: that one stays. */
function refused(sent, { detail }) {
  if (sent !== key()) return;
  sessionStorage.removeItem(KEY);
  askForKey(sent === null ? "" : detail);
}

// ---- requests

async function send(path, { json, form, ...options } = {}) {
  const sent = key();
  const headers = sent === null ? {} : { Authorization: `Bearer ${sent}` };
  if (json !== undefined) headers["Content-Type"] = "application/json";
  let response;
  try {
    response = await fetch(new URL(path, base), { ...options, headers, body: json === undefined ? form : JSON.stringify(json) });
  } catch (error) {
    if (isAbort(error)) throw error;
    throw new ApiError({ title: "No connection", code: "network",
      detail: "The service could not be reached. Check that it is running and that you are connected." });
  }
  if (!response.ok) {
    const error = await failure(response);
    if (error.status === 401) refused(sent, error);
    throw error;
  }
  return response;
}

async function call(path, options) {
  const response = await send(path, options);
  if (response.status === 204) return null;
  try {
    return await response.json();
  } catch (error) {
    if (isAbort(error)) throw error;
    throw new ApiError({ title: "Not understood", code: "not_json", status: response.status,
      detail: "The answer broke off, or did not come from the service." });
  }
}

/** A picture query is `{ file }` for bytes of the reader's own, or `{ id }` for a picture of the collection. */
function byPicture(path, { file, id }, { n, offset }, signal) {
  if (id !== undefined) return call(path, { method: "POST", json: { id, n_results: n, offset }, signal });
  const form = new FormData();
  form.append("file", file, file.name || "picture");
  form.append("n_results", n);
  form.append("offset", offset);
  return call(path, { method: "POST", form, signal });
}

const item = (modality, id) => `items/${modality}/${encodeURIComponent(id)}`;

export const api = {
  stats: (signal) => call("stats", { signal }),
  textToImage: (query, { n, offset }, signal) =>
    call("search/text-to-image", { method: "POST", json: { query, n_results: n, offset }, signal }),
  similarImages: (picture, page, signal) => byPicture("search/similar-images", picture, page, signal),
  imageToText: (picture, page, signal) => byPicture("search/image-to-text", picture, page, signal),
  items: (modality, limit, signal) => call(`items/${modality}?limit=${limit}`, { signal }),
  item: (modality, id, signal) => call(item(modality, id), { signal }),
  remove: (modality, id) => call(item(modality, id), { method: "DELETE" }),
  indexImages: (form, signal) => call("index/images", { method: "POST", form, signal }),
  indexTexts: (items, signal) => call("index/texts", { method: "POST", json: { items }, signal }),
};

/**
 * The address of a picture an answer names, or null. Only paths on this very host are taken: an answer carries what
 * others put into the collection.
 */
export function pictureUrl(path) {
  if (typeof path !== "string" || !/^\/(?![/\\])/.test(path)) return null;
  const url = new URL(`.${path}`, base);
  return url.origin === base.origin && url.pathname.startsWith(base.pathname) ? url : null;
}

export const picturePath = (id) => `/images/${encodeURIComponent(id)}`;
export const thumbnailPath = (id) => `${picturePath(id)}/thumbnail`;

const PICTURE_ATTEMPTS = 8;
const PICTURE_WAIT_MAX = 30;
const missing = (img) => img.dispatchEvent(new Event("error"));

/** Fetch the picture with the key; a service at its limit is asked again, and ever more slowly. */
async function fetchPicture(img, url) {
  let bytes;
  for (let attempt = 1; bytes === undefined; attempt += 1) {
    try {
      bytes = await (await send(url)).blob();
    } catch (error) {
      if ((error.status !== 429 && error.status !== 503) || attempt === PICTURE_ATTEMPTS) return missing(img);
      await new Promise((resolve) => { setTimeout(resolve, 1000 * Math.min(PICTURE_WAIT_MAX, Math.max(attempt, error.retryAfter ?? 0))); });
      if (!img.isConnected) return undefined;
    }
  }
  const local = URL.createObjectURL(bytes);
  for (const end of ["load", "error"]) img.addEventListener(end, () => URL.revokeObjectURL(local), { once: true });
  img.src = local;
  return undefined;
}

/** What is to be done once a picture comes near the window. */
const awaited = new WeakMap();
const near = new IntersectionObserver((entries) => {
  for (const { target } of entries.filter(({ isIntersecting }) => isIntersecting)) {
    near.unobserve(target);
    awaited.get(target)();
  }
}, { rootMargin: "400px" });

/**
 * Show the picture at `path` in `img`. A key cannot travel with a plain image request, so when one is set the bytes are
 * fetched with it and shown from memory.
 */
export function showPicture(img, path) {
  const url = pictureUrl(path);
  if (url === null) {
    missing(img);
  } else if (!hasKey()) {
    img.src = url.href;
  } else if (img.loading === "lazy") {
    // From memory it loads at once, and so is surely let go of.
    img.loading = "eager";
    awaited.set(img, () => fetchPicture(img, url));
    near.observe(img);
  } else {
    fetchPicture(img, url);
  }
}
