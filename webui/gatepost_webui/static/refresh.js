// Keep the status page fresh without losing what somebody types. The page works without it.
"use strict";

const INTERVAL = 5000; // milliseconds

async function refresh() {
  const live = document.getElementById("live");
  if (document.hidden || !live || live.contains(document.activeElement)) return;
  const answer = await fetch(location.href, { signal: AbortSignal.timeout(INTERVAL * 2) });
  if (!answer.ok || answer.redirected) {
    location.reload(); // signed out, or the node is away: show the page that says so
    return;
  }
  const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
  const part = fresh.getElementById("live");
  if (part) live.replaceWith(part);
}

async function loop() {
  try {
    await refresh();
  } catch (error) {
    console.warn("the page could not be refreshed:", error); // the web server is away: try again
  }
  setTimeout(loop, INTERVAL);
}

setTimeout(loop, INTERVAL);
