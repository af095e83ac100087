"use strict";
// Changes what is served, for whoever knows the token. It is kept until this tab is closed.
const ask = document.getElementById("ask");
const answer = document.getElementById("answer");
const refusal = document.getElementById("refusal");

// What is typed, or null.
function question(text, type, error) {
  document.getElementById("question").textContent = text;
  Object.assign(answer, { type, value: "" });
  refusal.textContent = error;
  refusal.hidden = !error;
  ask.returnValue = "";
  ask.showModal();
  return new Promise((resolve) => {
    ask.onclose = () => resolve(ask.returnValue ? answer.value : null);
  });
}

// Empty, or why nothing has changed; null when somebody gave up.
async function change(path, body) {
  let error = "";
  for (;;) {
    let token = sessionStorage.getItem("token");
    if (!token) {
      token = await question("Token", "password", error);
      if (token === null) return null;
    }
    const told = await fetch(path, {
      method: "PATCH",
      headers: { Authorization: `Bearer ${token}`, "Content-Type": "application/json" },
      body: JSON.stringify(body),
    });
    if (told.ok) {
      sessionStorage.setItem("token", token);
      return "";
    }
    error = (await told.json()).error.text;
    if (told.status !== 401 && told.status !== 403) return error;
    sessionStorage.removeItem("token");
  }
}

async function act(button) {
  const { field, text, value } = button.dataset;
  const path = button.closest("[data-path]").dataset.path;
  let error = "";
  do {
    let wanted = value === "true";
    if (text) {
      wanted = await question(text, field === "weight" ? "number" : "text", error);
      if (wanted === null) return;
      if (field === "weight") wanted = Number(wanted);
    }
    error = await change(path, { [field]: wanted });
  } while (error && text);
}

document.documentElement.classList.add("scripted");
document.getElementById("live").addEventListener("click", ({ target }) => {
  const button = target.closest("button[data-field]");
  if (button) act(button);
});
