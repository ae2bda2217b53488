// What one sees: a canvas, bars of probabilities, the image that the network gets.
//
// Where `network.remote` is set, the server that sent this page runs the network; else this page.

const PEN = 18, SHOWN = 10, STEP = 10;
const element = (name) => document.getElementById(name);
const network = JSON.parse(element("network").textContent);
if (!network.remote) network.weights = decodeWeights(network.weights, network.half);

const canvas = element("canvas"), context = canvas.getContext("2d", {willReadFrequently: true});
const key = new URLSearchParams(location.search).get("key");
let strokes = [], cursor = null, penDown = false, asked = 0, waiting = false;

element("what").textContent = network.classNames.length === 10 ? "a digit" : "a character";
element("about").textContent = `The network ${network.name}, trained on ${network.data}, runs ` +
  (network.remote ? "on this machine." : "in this page: nothing is sent.");

for (let place = 0; place < Math.min(SHOWN, network.classNames.length); place++) {
  const row = document.createElement("li");
  for (const name of ["name", "bar", "share"]) {
    const part = document.createElement("span");
    part.className = name;
    row.append(part);
  }
  element("bars").append(row);
}

function draw() {
  context.clearRect(0, 0, canvas.width, canvas.height);
  const color = getComputedStyle(document.documentElement).getPropertyValue("--ink");
  context.strokeStyle = context.fillStyle = color;
  context.lineWidth = PEN;
  context.lineCap = context.lineJoin = "round";
  for (const points of strokes) {
    context.beginPath();
    context.moveTo(...points[0]);
    for (const point of points) context.lineTo(...point);
    context.stroke();
  }
  if (!waiting) {
    waiting = true;
    requestAnimationFrame(() => { waiting = false; read(); });
  }
}

// The ink of the drawing: how opaque each pixel is.
function inkOf() {
  const {data} = context.getImageData(0, 0, canvas.width, canvas.height);
  const ink = {height: canvas.height, width: canvas.width, data: new Uint8Array(data.length / 4)};
  for (let at = 0; at < ink.data.length; at++) ink.data[at] = data[4 * at + 3];
  return ink;
}

const sizeOf = ({height, width}) => `height=${height}&width=${width}`;

async function post(path, body) {
  const answer = await fetch(path, {method: "POST", headers: {"X-Key": key}, body});
  const document = await answer.json();
  if (!answer.ok) throw new Error(document.error);
  return document;
}

// The image, the probabilities of the classes, and how much each pixel matters for the first.
async function look(ink) {
  if (network.remote) return post(`look?${sizeOf(ink)}`, ink.data);
  const image = toForm(ink, network);
  const probabilities = probabilitiesOf(network, logitsOf(network, image));
  const best = probabilities.indexOf(Math.max(...probabilities));
  return {...image, probabilities, saliency: saliencyOf(network, image, best)};
}

async function read() {
  const ink = inkOf(), number = ++asked;
  if (!largest(ink)) return show(null);
  try {
    const found = await look(ink);
    if (number === asked) show(found);
  } catch (error) {
    show(null);
    element("sure").textContent = error.message;
  }
}

function show(found) {
  const names = network.classNames, shares = found ? found.probabilities : names.map(() => 0);
  const order = names.map((_, at) => at);
  // Digits stay in their order; of many classes the most probable are shown.
  if (names.length > SHOWN) order.sort((a, b) => shares[b] - shares[a]);
  [...element("bars").children].forEach((row, place) => {
    const [name, bar, share] = row.children, at = order[place];
    name.textContent = found || names.length <= SHOWN ? names[at] : "";
    bar.style.width = `${100 * shares[at]}%`;
    share.textContent = found ? `${(100 * shares[at]).toFixed(1)}%` : "";
  });
  const best = shares.indexOf(Math.max(...shares));
  element("best").textContent = found ? names[best] : "\u00a0";
  element("sure").textContent = found ? `${(100 * shares[best]).toFixed(1)}%` : "";
  paint(element("seen"), found, found && found.data, 255);
  paint(element("decisive"), found, found && found.saliency, found && Math.max(...found.saliency));
}

function paint(target, image, values, most) {
  target.width = image ? image.width : 28;
  target.height = image ? image.height : 28;
  if (!image) return;
  const shown = target.getContext("2d"), pixels = shown.createImageData(image.width, image.height);
  Array.from(values).forEach((value, at) => {
    pixels.data.set([0, 1, 2].map(() => Math.round((255 * value) / (most || 1))), 4 * at);
    pixels.data[4 * at + 3] = 255;
  });
  shown.putImageData(pixels, 0, 0);
}

function pointOf(event) {
  const box = canvas.getBoundingClientRect(), scale = canvas.width / box.width;
  return [(event.clientX - box.left) * scale, (event.clientY - box.top) * scale];
}

canvas.addEventListener("pointerdown", (event) => {
  event.preventDefault();
  canvas.focus();
  canvas.setPointerCapture(event.pointerId);
  strokes.push([pointOf(event)]);
  draw();
});
canvas.addEventListener("pointermove", (event) => {
  if (!canvas.hasPointerCapture(event.pointerId)) return;
  for (const one of event.getCoalescedEvents?.() ?? [event]) strokes.at(-1).push(pointOf(one));
  strokes.at(-1).push(pointOf(event));
  draw();
});

function clear() {
  strokes = [];
  penDown = false;
  cursor = null;
  draw();
}

const MOVES = {ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1]};
canvas.addEventListener("keydown", (event) => {
  cursor ??= [canvas.width / 2, canvas.height / 4];
  if (event.key in MOVES) {
    cursor = cursor.map((value, axis) =>
      Math.min(Math.max(value + STEP * MOVES[event.key][axis], 0), canvas.width));
    if (penDown) strokes.at(-1).push(cursor);
  } else if (event.key === " ") {
    penDown = !penDown;
    if (penDown) strokes.push([cursor]);
  } else if (event.key === "Escape") {
    clear();
  } else {
    return;
  }
  event.preventDefault();
  draw();
});
element("clear").addEventListener("click", clear);
element("undo").addEventListener("click", () => {
  strokes.pop();
  penDown = false;
  draw();
});

// Tell the network what the drawing is, or take the last correction back.
async function tell(path, body) {
  try {
    const found = await post(path, body);
    element("told").textContent = found.told;
    element("is").value = "";
    read();
  } catch (error) {
    element("told").textContent = error.message;
  }
}
element("correct").hidden = !network.teach;
element("correct").addEventListener("submit", (event) => {
  event.preventDefault();
  const ink = inkOf(), name = encodeURIComponent(element("is").value);
  tell(`teach?${sizeOf(ink)}&name=${name}`, ink.data);
});
element("forget").addEventListener("click", () => tell("forget", ""));

element("upload").hidden = !key;
element("file").addEventListener("change", async (event) => {
  const [file] = event.target.files;
  if (!file) return;
  element("page").hidden = false;
  try {
    const found = await post("read", file);
    element("text").textContent = found.text;
    element("photo").src = `data:image/png;base64,${found.picture}`;
  } catch (error) {
    element("text").textContent = error.message;
    element("photo").removeAttribute("src");
  }
  event.target.value = "";
});
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);
draw();
