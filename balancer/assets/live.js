"use strict";
// Takes over what the server has written anew, element by element: what is focused, chosen or
// being typed stays as it is.
const live = document.getElementById("live");
const lost = document.getElementById("link");

function isSame(a, b) {
  return a.nodeType === b.nodeType && a.nodeName === b.nodeName && a.id === b.id;
}

function take(old, now) {
  if (old.nodeType === Node.TEXT_NODE) {
    if (old.data !== now.data) old.data = now.data;
    return;
  }
  if (old.attributes) {
    for (const { name, value } of now.attributes) {
      if (old.getAttribute(name) !== value) old.setAttribute(name, value);
    }
    for (const { name } of [...old.attributes]) {
      if (!now.hasAttribute(name)) old.removeAttribute(name);
    }
  }
  const [before, after] = [[...old.childNodes], [...now.childNodes]];
  after.forEach((node, at) => {
    const stands = before[at];
    if (!stands) old.append(node);
    else if (isSame(stands, node)) take(stands, node);
    else stands.replaceWith(node);
  });
  before.slice(after.length).forEach((node) => node.remove());
}

const events = new EventSource("/events");
events.onopen = () => { lost.hidden = true; };
events.onerror = () => { lost.hidden = false; };
events.onmessage = ({ data }) => {
  const now = document.createElement("main");
  now.innerHTML = data;
  now.id = live.id;
  take(live, now);
};
