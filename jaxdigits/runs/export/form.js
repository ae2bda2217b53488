// From a drawn character to an image like those that a network was trained on.
//
// The same steps as jaxdigits/transforms/form.py, pixel for pixel. An image is {height, width,
// data}, with bright strokes on 0, row by row.

const INK = 0.1, STROKE = 0.5, SIDE = 28, MNIST_BOX = 20, EMNIST_BOX = 36;

// As Python and numpy round: a half to the even neighbor.
function round(value) {
  const low = Math.floor(value), rest = value - low;
  if (rest !== 0.5) return Math.round(value);
  return low % 2 === 0 ? low : low + 1;
}

function blank(height, width, kind = Uint8Array) {
  return {height, width, data: new kind(height * width)};
}

function largest(image) {
  let most = 0;
  for (const value of image.data) if (value > most) most = value;
  return most;
}

// Rows [top, bottom) and columns [left, right) of what is brighter than a share of the largest.
function boxOf(image, share) {
  const limit = share * largest(image);
  let top = image.height, bottom = 0, left = image.width, right = 0;
  for (let y = 0, at = 0; y < image.height; y++) {
    for (let x = 0; x < image.width; x++, at++) {
      if (image.data[at] > limit) {
        top = Math.min(top, y); bottom = Math.max(bottom, y + 1);
        left = Math.min(left, x); right = Math.max(right, x + 1);
      }
    }
  }
  return {top, bottom, left, right};
}

// Part of an image; what lies outside is 0.
function crop(image, {top, bottom, left, right}) {
  const part = blank(bottom - top, right - left, image.data.constructor);
  for (let y = Math.max(top, 0); y < Math.min(bottom, image.height); y++) {
    for (let x = Math.max(left, 0); x < Math.min(right, image.width); x++) {
      part.data[(y - top) * part.width + x - left] = image.data[y * image.width + x];
    }
  }
  return part;
}

function pad(image, size) {
  const {height, width} = image;
  return crop(image, {top: -size, bottom: height + size, left: -size, right: width + size});
}

function map(image, change, kind = Uint8Array) {
  return {height: image.height, width: image.width, data: kind.from(image.data, change)};
}

function scaled(image, most) {
  const factor = Math.fround(255 / most);
  return map(image, (value) => round(Math.fround(value * factor)));
}

// The box of what is brighter than a share of the largest value, which becomes 255.
function cut(image, share) {
  const most = largest(image);
  return scaled(crop(image, boxOf(image, share)), most);
}

// Pillow's filters, and their widths on each side.
const FILTERS = {
  box: [0.5, (x) => (x > -0.5 && x <= 0.5 ? 1 : 0)],
  hamming: [1, (x) => {
    x = Math.abs(x);
    if (x === 0) return 1;
    if (x >= 1) return 0;
    return (Math.sin(x * Math.PI) / (x * Math.PI)) * (0.54 + 0.46 * Math.cos(x * Math.PI));
  }],
  bicubic: [2, (x) => {
    x = Math.abs(x);
    if (x < 1) return (1.5 * x - 2.5) * x * x + 1;
    return x < 2 ? -0.5 * (((x - 5) * x + 8) * x - 4) : 0;
  }],
};

// Pillow's resampling of bytes: weights in fixed point.
function resize(image, height, width, name) {
  let result = image;
  if (height !== image.height) {
    result = transpose(resizeWidth(transpose(result), height, name));
  }
  return width === image.width ? result : resizeWidth(result, width, name);
}

function transpose(image) {
  const result = blank(image.width, image.height, image.data.constructor);
  for (let y = 0, at = 0; y < image.height; y++) {
    for (let x = 0; x < image.width; x++, at++) result.data[x * image.height + y] = image.data[at];
  }
  return result;
}

function resizeWidth(image, width, name) {
  const [reach, weight] = FILTERS[name];
  const scale = image.width / width, stretch = Math.max(scale, 1), support = reach * stretch;
  const result = blank(image.height, width);
  for (let x = 0; x < width; x++) {
    const center = (x + 0.5) * scale;
    const first = Math.max(Math.trunc(center - support + 0.5), 0);
    const last = Math.min(Math.trunc(center + support + 0.5), image.width);
    let weights = [], total = 0;
    for (let at = first; at < last; at++) {
      const value = weight((at - center + 0.5) * (1 / stretch));
      weights.push(value);
      total += value;
    }
    weights = weights.map((value) => {
      const fixed = total ? (value / total) * 4194304 : value * 4194304;
      return Math.trunc(fixed < 0 ? fixed - 0.5 : fixed + 0.5);
    });
    for (let y = 0; y < image.height; y++) {
      let sum = 2097152;
      for (let at = first; at < last; at++) {
        sum += image.data[y * image.width + at] * weights[at - first];
      }
      result.data[y * width + x] = Math.min(Math.max(Math.floor(sum / 4194304), 0), 255);
    }
  }
  return result;
}

// Whether a pixel goes in the first or the second pass of thinning: skeleton.py.
const PASSES = [false, true].map((second) => {
  const both = [10, 40, 130, 160], neither = [48, 129];
  const inFirst = [3, 6, 11, 12, 14, 131, 134, 161, 194, 198];
  const inSecond = [24, 26, 56, 96, 104, 108, 176, 192, 224];
  const table = new Uint8Array(256);
  for (let code = 0; code < 256; code++) {
    const around = Array.from({length: 8}, (_, place) => (code >> place) & 1);
    const [, north, , east, , south, , west] = around;
    let starts = 0, count = 0;
    for (let place = 0; place < 8; place++) {
      starts += around[place] < around[(place + 1) % 8];
      count += around[place];
    }
    const stays = second ? north * west * (east + south) : east * south * (north + west);
    table[code] = starts === 1 && count >= 2 && count <= 6 && !stays;
  }
  for (const code of [...neither, ...(second ? inFirst : inSecond)]) table[code] = 0;
  for (const code of [...both, ...(second ? inSecond : inFirst)]) table[code] = 1;
  return table;
});

function skeletonLength(marked) {
  const {data, width} = pad(marked, 1);
  const around = [-width - 1, -width, 1 - width, 1, width + 1, width, width - 1, -1];
  let idle = 0, left = 0;
  for (let pass = 0; idle < 2; pass = 1 - pass) {
    const gone = [];
    for (let at = 0; at < data.length; at++) {
      if (!data[at]) continue;
      let code = 0;
      for (let place = 0; place < 8; place++) code |= data[at + around[place]] << place;
      if (PASSES[pass][code]) gone.push(at);
    }
    for (const at of gone) data[at] = 0;
    idle = gone.length ? 0 : idle + 1;
  }
  for (const value of data) left += value;
  return left;
}

function strokeWidth(ink) {
  const most = largest(ink), marked = map(ink, (value) => (2 * value > most ? 1 : 0));
  let area = 0;
  for (const value of marked.data) area += value;
  return area / Math.max(skeletonLength(marked), 1);
}

// The distance of each marked pixel to the nearest that is not: Felzenszwalb and Huttenlocher.
function distances(marked) {
  const far = 1e12;
  let values = {...marked, data: Float64Array.from(marked.data, (value) => (value ? far : 0))};
  for (let pass = 0; pass < 2; pass++) {
    const {height, width, data} = values;
    for (let y = 0; y < height; y++) {
      const row = data.slice(y * width, (y + 1) * width), places = [0], limits = [-far];
      for (let x = 1; x < width; x++) {
        let meet;
        do {
          const place = places[places.length - 1];
          meet = (row[x] + x * x - row[place] - place * place) / (2 * (x - place));
        } while (meet <= limits[limits.length - 1] && places.length > 1 &&
                 (places.pop(), limits.pop(), true));
        places.push(x);
        limits.push(meet);
      }
      for (let x = 0, index = 0; x < width; x++) {
        while (index + 1 < places.length && limits[index + 1] < x) index++;
        data[y * width + x] = (x - places[index]) ** 2 + row[places[index]];
      }
    }
    values = transpose(values);
  }
  return map(values, Math.sqrt, Float32Array);
}

// Strokes of the usual width where they are narrower, or far wider.
function withStrokes(ink, longest, narrowest, usual, widest) {
  const scale = longest / Math.max(ink.height, ink.width), width = scale * strokeWidth(ink);
  if (narrowest <= width && width <= widest) return ink;
  const half = width < narrowest ? Math.ceil((usual - width) / scale / 2) : 0;
  const strokes = pad(map(ink, (value) => (2 * value > 255 ? 1 : 0)), half);
  let change = Math.abs(usual - width) / scale / 2;
  const clip = (value) => Math.min(Math.max(Math.fround(value), 0), 1);
  if (half) {
    const away = distances(map(strokes, (value) => 1 - value)), padded = pad(ink, half);
    return map(padded, (value, at) =>
      Math.max(value, round(Math.fround(255 * clip(Math.fround(change + 0.5) - away.data[at])))));
  }
  const whole = distances(pad(strokes, 1));
  const away = crop(whole, {
    top: 1, bottom: whole.height - 1, left: 1, right: whole.width - 1,
  });
  change = Math.min(change, largest(away) - 1);
  const kept = (at) => clip(Math.fround(away.data[at] - Math.fround(change)) + 0.5);
  return cut(map(ink, (value, at) => round(Math.fround(kept(at) * value))), INK);
}

function resized(image, longest) {
  const factor = longest / Math.max(image.height, image.width);
  const [height, width] = [image.height, image.width].map(
    (side) => Math.max(round(side * factor), 1));
  return resize(image, height, width, factor < 1 ? "box" : "bicubic");
}

function toMnist(image) {
  const small = resized(withStrokes(cut(image, INK), MNIST_BOX, 1.2, 2.2, 7), MNIST_BOX);
  let total = 0, rows = 0, columns = 0;
  for (let y = 0, at = 0; y < small.height; y++) {
    for (let x = 0; x < small.width; x++, at++) {
      total += small.data[at];
      rows += y * small.data[at];
      columns += x * small.data[at];
    }
  }
  const place = (middle, size) =>
    Math.min(Math.max(SIDE / 2 - round(middle), 0), SIDE - size);
  const top = place(rows / total, small.height), left = place(columns / total, small.width);
  return crop(small, {top: -top, bottom: SIDE - top, left: -left, right: SIDE - left});
}

// As scipy filters: deviation 1, four pixels on each side, borders reflected; rows come first.
function blurred(image) {
  const weights = Array.from({length: 9}, (_, at) => Math.exp(-0.5 * (at - 4) ** 2));
  const total = weights.reduce((sum, value) => sum + value, 0);
  let values = map(image, (value) => value, Float32Array);
  for (let pass = 0; pass < 2; pass++) {
    values = transpose(values);
    const {height, width, data} = values, result = new Float32Array(data.length);
    for (let y = 0; y < height; y++) {
      for (let x = 0; x < width; x++) {
        let sum = 0;
        for (let step = -4; step <= 4; step++) {
          let at = x + step;
          if (at < 0) at = -1 - at;
          if (at >= width) at = 2 * width - 1 - at;
          sum += (weights[step + 4] / total) * data[y * width + at];
        }
        result[y * width + x] = sum;
      }
    }
    values = {height, width, data: result};
  }
  return map(values, round);
}

function toEmnist(image) {
  const ink = withStrokes(cut(image, STROKE), EMNIST_BOX, 2.8, 4.4, 12);
  const binary = map(resized(ink, EMNIST_BOX), (value) => (value > 127.5 ? 255 : 0));
  const region = cut(blurred(pad(binary, 4)), 0);
  const side = Math.max(region.height, region.width) + 4;
  const top = -Math.floor((side - region.height) / 2), left = -Math.floor((side - region.width) / 2);
  const square = crop(region, {top, bottom: top + side, left, right: left + side});
  const small = resize(square, SIDE, SIDE, "bicubic");
  return scaled(small, largest(small));
}

function toPlain(image, shape, extent) {
  const ink = cut(image, 0), box = boxOf(ink, STROKE);
  const lengths = [box.bottom - box.top, box.right - box.left];
  const center = [(box.top + box.bottom) / 2, (box.left + box.right) / 2];
  const factor = Math.max(lengths[0] / shape[0], lengths[1] / shape[1]) / extent;
  const sides = shape.map((side, at) => Math.max(round(factor * side), lengths[at]));
  const [top, left] = center.map((middle, at) => round(middle - sides[at] / 2));
  const window = crop(ink, {top, bottom: top + sides[0], left, right: left + sides[1]});
  const small = resize(window, shape[0], shape[1], "hamming"), most = Math.max(largest(small), 1);
  return map(small, (value) => round(value * (255 / most)));
}

// The image that the network sees, pixels 0..255, strokes bright; its channels are all alike.
function toForm(ink, network) {
  const image = network.form === "mnist" ? toMnist(ink)
    : network.form === "emnist" ? toEmnist(ink)
    : toPlain(ink, network.imageShape.slice(0, 2), network.extent);
  return network.lightGround ? map(image, (value) => 255 - value) : image;
}
