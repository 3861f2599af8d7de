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
export const setKey = (key) => sessionStorage.setItem(KEY, key);
const authorization = () => {
  const key = sessionStorage.getItem(KEY);
  return key ? { Authorization: `Bearer ${key}` } : {};
};

async function send(path, { json, form, ...options } = {}) {
  const headers = authorization();
  if (json !== undefined) headers["Content-Type"] = "application/json";
  let response;
  try {
    response = await fetch(new URL(path, base), { ...options, headers, body: json === undefined ? form : JSON.stringify(json) });
  } catch (error) {
    if (isAbort(error)) throw error;
    throw new ApiError({ title: "No connection", code: "network",
      detail: "The service could not be reached. Check that it is running and that you are connected." });
  }
  if (!response.ok) throw await failure(response);
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

/**
 * Show the picture at `path` in `img`. A key cannot travel with a plain image request, so when one is set the bytes are
 * fetched with it.
 */
export async function showPicture(img, path) {
  const missing = () => img.dispatchEvent(new Event("error"));
  const url = pictureUrl(path);
  if (url === null) return missing();
  if (!("Authorization" in authorization())) {
    img.src = url.href;
    return undefined;
  }
  try {
    const bytes = await (await send(url)).blob();
    const local = URL.createObjectURL(bytes);
    img.addEventListener("load", () => URL.revokeObjectURL(local), { once: true });
    img.src = local;
  } catch {
    missing();
  }
  return undefined;
}
