// Sends many files in small requests and counts what became of each. Knows nothing of the page.

import { ApiError, api, isAbort } from "./api.js";

const BATCH_FILES = 8;
const BATCH_BYTES = 15 * 1024 * 1024;
const CONCURRENCY = 2;
const ATTEMPTS = 5;
const RETRY_SECONDS_MAX = 30;

/** Files in order, at most 8 and about 15 MiB to a request; a larger file travels alone. */
export function batches(files) {
  const made = [];
  let batch = [];
  let bytes = 0;
  for (const file of files) {
    if (batch.length === BATCH_FILES || (batch.length > 0 && bytes + file.size > BATCH_BYTES)) {
      made.push(batch);
      batch = [];
      bytes = 0;
    }
    batch.push(file);
    bytes += file.size;
  }
  if (batch.length > 0) made.push(batch);
  return made;
}

function pause(seconds, signal) {
  return new Promise((resolve, reject) => {
    const stop = () => {
      clearTimeout(timer);
      reject(signal.reason);
    };
    const timer = setTimeout(() => {
      signal.removeEventListener("abort", stop);
      resolve();
    }, seconds * 1000);
    signal.addEventListener("abort", stop, { once: true });
  });
}

function formOf(batch, captionOf) {
  const form = new FormData();
  const metadata = batch.map((file) => {
    const caption = captionOf(file);
    return caption ? { caption } : {};
  });
  for (const file of batch) form.append("files", file, file.name);
  form.append("metadata", JSON.stringify(metadata));
  return form;
}

/**
 * Index `files`. `captionOf(file)` gives a caption or "". `onProgress({ done, total, indexed, unchanged, failed })` is
 * called after every request, `onFailure(file, reason)` once per file that failed, `onWait(seconds)` when the service
 * asked to wait. Resolves with the last progress; a stop through `signal` resolves too, and leaves the rest unsent.
 */
export async function uploadImages(files, { captionOf, onProgress, onFailure, onWait, signal }) {
  const progress = { done: 0, total: files.length, indexed: 0, unchanged: 0, failed: 0 };
  const waiting = batches(files);

  const settle = (batch, results) => {
    batch.forEach((file, index) => {
      const result = results[index];
      if (result?.status === "indexed" || result?.status === "unchanged") {
        progress[result.status] += 1;
        return;
      }
      progress.failed += 1;
      const error = result?.error;
      onFailure(file, error?.detail ?? error?.code ?? "The service gave no reason.");
    });
    progress.done += batch.length;
    onProgress({ ...progress });
  };

  const fail = (batch, error) => {
    const reason = error.requestId ? `${error.detail} Request ${error.requestId}.` : (error.detail ?? error.message);
    settle(batch, batch.map(() => ({ status: "failed", error: { detail: reason } })));
  };

  const upload = async (batch) => {
    for (let attempt = 1; ; attempt += 1) {
      try {
        const answer = await api.indexImages(formOf(batch, captionOf), signal);
        settle(batch, answer.results);
        return;
      } catch (error) {
        if (isAbort(error)) throw error;
        if (!(error instanceof ApiError)) {
          fail(batch, error);
          return;
        }
        // Every file of the request was bad: the reasons come in the same list as ever.
        if (Array.isArray(error.body?.results)) {
          settle(batch, error.body.results);
          return;
        }
        if (error.status === 413 && batch.length > 1) {
          const middle = Math.ceil(batch.length / 2);
          waiting.unshift(batch.slice(0, middle), batch.slice(middle));
          return;
        }
        if ((error.status !== 429 && error.status !== 503) || attempt === ATTEMPTS) {
          fail(batch, error);
          return;
        }
        const seconds = Math.min(RETRY_SECONDS_MAX, error.retryAfter ?? 2 ** attempt);
        onWait(seconds);
        await pause(seconds, signal);
      }
    }
  };

  const work = async () => {
    while (waiting.length > 0) await upload(waiting.shift());
  };
  const outcomes = await Promise.allSettled(Array.from({ length: CONCURRENCY }, work));
  const broken = outcomes.find(({ status, reason }) => status === "rejected" && !isAbort(reason));
  if (broken) throw broken.reason;
  return progress;
}
