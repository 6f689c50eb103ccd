"use strict";
// Keeps the page as new as the daemon, and never lets what is old look new.
(() => {
  const EVERY_MS = 2000;
  const PATIENCE_MS = 5000;
  const SILENT_MS = 6000;
  const page = document.documentElement;
  const [silence, trouble, age] = ["silence", "trouble", "age"].map((id) => document.getElementById(id));
  const view = () => document.getElementById("view");

  let heardAt = Date.now();
  let fault = "";
  let timer = 0;
  let isAsking = false;

  // Changes only what differs, so that scroll, focus, selection and screen readers stay where they are.
  function renew(old, fresh) {
    if (old.nodeType !== fresh.nodeType || old.nodeName !== fresh.nodeName) {
      old.replaceWith(fresh);
      return;
    }
    if (old.nodeType !== Node.ELEMENT_NODE) {
      if (old.data !== fresh.data) old.data = fresh.data;
      return;
    }
    for (const { name } of [...old.attributes]) if (!fresh.hasAttribute(name)) old.removeAttribute(name);
    for (const { name, value } of fresh.attributes) if (old.getAttribute(name) !== value) old.setAttribute(name, value);
    const [had, has] = [[...old.childNodes], [...fresh.childNodes]];
    has.forEach((child, n) => (n < had.length ? renew(had[n], child) : old.append(child)));
    had.slice(has.length).forEach((child) => child.remove());
  }

  async function answer() {
    // Not a relative address: it would hold the password of whoever opened the page with one in its address.
    const address = `${location.origin}${location.pathname}?fragment=true`;
    const got = await fetch(address, { cache: "no-store", redirect: "error", signal: AbortSignal.timeout(PATIENCE_MS) });
    const text = await got.text();
    if (!got.ok) {
      let says = `status ${got.status}`;
      try { says = JSON.parse(text).error || says; } catch { /* not of freshd's making */ }
      throw new Error(says, { cause: "answered" });
    }
    const fresh = new DOMParser().parseFromString(text, "text/html").getElementById("view");
    if (!fresh) throw new Error("something other than this page", { cause: "answered" });
    return fresh;
  }

  async function ask() {
    clearTimeout(timer);
    if (isAsking) return;
    isAsking = true;
    try {
      const fresh = await answer();
      const isNew = fresh.dataset.at !== view().dataset.at;
      renew(view(), fresh);
      if (isNew) heardAt = Date.now();
      fault = "";
    } catch (error) {
      fault = error.cause === "answered" ? `The daemon does not answer with this page, but: ${error.message}` : "The daemon does not answer.";
    }
    isAsking = false;
    tell();
    if (!document.hidden) timer = setTimeout(ask, EVERY_MS);
  }

  function tell() {
    const elapsed = Date.now() - heardAt;
    const isSilent = fault !== "" || elapsed > SILENT_MS;
    const wording = fault || "Nothing new comes from the daemon.";
    const at = document.getElementById("as-of");
    page.classList.toggle("silent", isSilent);
    silence.hidden = !isSilent;
    // Written once: an alert is read aloud whenever its text is set.
    if (trouble.textContent !== (isSilent ? wording : "")) trouble.textContent = isSilent ? wording : "";
    age.textContent = at && isSilent ? `Everything below is from ${at.textContent}, ${words(elapsed / 1000)} ago, and ages count from then. It may be wrong by now.` : "";
    document.title = `${isSilent ? "no answer" : view().dataset.status} · freshd`;
  }

  function words(seconds) {
    if (seconds < 120) return `${Math.round(seconds)} s`;
    return seconds < 7200 ? `${Math.round(seconds / 60)} min` : `${(seconds / 3600).toFixed(1)} h`;
  }

  document.getElementById("every").textContent = EVERY_MS / 1000;
  document.addEventListener("visibilitychange", () => (document.hidden ? clearTimeout(timer) : ask()));
  setInterval(tell, 1000);
  ask(); // at once: a browser may have kept this page since yesterday
})();
