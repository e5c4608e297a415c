"use strict";

const TOP = 5;
const $ = (id) => document.getElementById(id);

let model = null;
let current = null; // {file, url, cams: Map from class index to an object URL, index}
let taken = 0; // images so far: only the response to the last one is shown

async function start() {
  model = await (await fetch("/model")).json();
  const step = model.step === null ? "" : `, step ${model.step}`;
  const count = model.classes.length;
  $("model").textContent = `${model.model}${step}: ${count} ${count === 1 ? "class" : "classes"}`;
  $("formats").textContent =
    `${model.formats}, up to ${(model.body_bytes / 2 ** 20).toFixed(0)} MiB. ` +
    `The network sees ${model.size} x ${model.size} pixels.`;
}

function complain(text) {
  $("message").textContent = text;
  $("message").hidden = !text;
}

async function ask(path, file) {
  let answer;
  try {
    answer = await fetch(path, { method: "POST", body: file });
  } catch {
    throw new Error("The service does not respond.");
  }
  if (answer.ok) return answer;
  const reason = await answer.json().catch(() => ({ error: answer.statusText }));
  throw new Error(`${reason.error} (${answer.status})`);
}

function forget(image) {
  if (!image) return;
  URL.revokeObjectURL(image.url);
  for (const url of image.cams.values()) URL.revokeObjectURL(url);
}

async function take(file) {
  const number = ++taken;
  complain("");
  if (model && file.size > model.body_bytes) {
    complain(`${file.name} has ${file.size} bytes; the limit is ${model.body_bytes}.`);
    return;
  }
  const image = { file, url: URL.createObjectURL(file), cams: new Map(), index: null };
  try {
    const found = await (await ask(`/predict?top=${TOP}`, file)).json();
    if (number !== taken) return forget(image);
    forget(current);
    current = image;
    image.index = found.predictions[0].index;
    list(found.predictions);
    showImage();
    $("results").hidden = false;
    $("drop").classList.add("small");
  } catch (error) {
    forget(image);
    if (number !== taken) return;
    $("results").hidden = true; // they belong to another image
    complain(error.message);
  }
}

function list(predictions) {
  $("classes").replaceChildren(
    ...predictions.map((entry) => {
      const share = `${(100 * entry.probability).toFixed(1)}%`;
      const button = document.createElement("button");
      button.type = "button";
      button.dataset.index = entry.index;
      button.setAttribute("aria-pressed", "false");
      for (const [name, text] of [["bar", ""], ["name", entry.class], ["share", share]]) {
        const part = document.createElement("span");
        part.className = name;
        part.textContent = text;
        button.append(part);
      }
      button.querySelector(".bar").style.width = share;
      button.addEventListener("click", () => showCam(entry.index));
      const item = document.createElement("li");
      item.append(button);
      return item;
    }),
  );
}

function press(isCam) {
  $("show-image").setAttribute("aria-pressed", String(!isCam));
  $("show-cam").setAttribute("aria-pressed", String(isCam));
  for (const button of $("classes").querySelectorAll("button")) {
    const pressed = isCam && Number(button.dataset.index) === current.index;
    button.setAttribute("aria-pressed", String(pressed));
  }
}

function show(url, caption) {
  $("shown").src = url;
  $("shown").alt = caption;
  $("caption").textContent = caption;
}

function showImage() {
  show(current.url, current.file.name || "pasted image");
  press(false);
}

async function showCam(index) {
  const image = current;
  complain("");
  try {
    if (!image.cams.has(index)) {
      const answer = await ask(`/explain?index=${index}`, image.file);
      image.cams.set(index, URL.createObjectURL(await answer.blob()));
    }
    if (image !== current) return;
    image.index = index;
    show(image.cams.get(index), `where it looks for “${model.classes[index]}”`);
    press(true);
  } catch (error) {
    complain(error.message);
  }
}

$("file").addEventListener("change", () => {
  if ($("file").files.length) take($("file").files[0]);
  $("file").value = "";
});
$("show-image").addEventListener("click", showImage);
$("show-cam").addEventListener("click", () => showCam(current.index));
// A small image is enlarged without smoothing, so that each pixel is visible.
$("shown").addEventListener("load", () => {
  $("shown").classList.toggle("pixels", $("shown").naturalWidth <= 64);
});
document.addEventListener("dragover", (event) => {
  event.preventDefault();
  $("drop").classList.add("over");
});
document.addEventListener("dragleave", (event) => {
  if (!event.relatedTarget) $("drop").classList.remove("over");
});
document.addEventListener("drop", (event) => {
  event.preventDefault();
  $("drop").classList.remove("over");
  const file = event.dataTransfer.files[0];
  if (file) take(file);
  else complain("That was not a file.");
});
document.addEventListener("paste", (event) => {
  const file = event.clipboardData.files[0];
  if (file) take(file);
});
start().catch(() => complain("The service does not respond."));
