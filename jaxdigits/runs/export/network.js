// A trained network: from images to logits and probabilities, and what each pixel does to them.
//
// `network` is what jaxdigits/web/page.py writes: layers with their weights, one after the other in
// one array of floats. Values lie [height, width, channels], as in jaxdigits.

function decodeWeights(text, half) {
  const bytes = Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
  if (!half) return new Float32Array(bytes.buffer);
  const halves = new Uint16Array(bytes.buffer), result = new Float32Array(halves.length);
  halves.forEach((value, at) => {
    const sign = value & 0x8000 ? -1 : 1, exponent = (value >> 10) & 31, rest = value & 1023;
    result[at] = sign * (exponent ? 2 ** (exponent - 15) * (1 + rest / 1024) : 2 ** -24 * rest);
  });
  return result;
}

// Abramowitz and Stegun 7.1.26; the error is below 1.5e-7.
function erf(x) {
  const t = 1 / (1 + 0.3275911 * Math.abs(x));
  const tail = ((((1.061405429 * t - 1.453152027) * t + 1.421413741) * t - 0.284496736) * t
    + 0.254829592) * t * Math.exp(-x * x);
  return x < 0 ? tail - 1 : 1 - tail;
}

const normal = (x) => 0.5 * (1 + erf(x * Math.SQRT1_2));
const sigmoid = (x) => 1 / (1 + Math.exp(-x));

// Each activation with its derivative.
const ACTIVATIONS = {
  relu: [(x) => Math.max(x, 0), (x) => (x > 0 ? 1 : 0)],
  sigmoid: [sigmoid, (x) => sigmoid(x) * (1 - sigmoid(x))],
  tanh: [Math.tanh, (x) => 1 - Math.tanh(x) ** 2],
  gelu: [
    (x) => x * normal(x),
    (x) => normal(x) + x * Math.exp(-x * x / 2) / Math.sqrt(2 * Math.PI),
  ],
};

// Each kind of layer: its values from those below, and the gradient below from the one above.
const LAYERS = {
  dense: {
    forward({outputs, inputs}, weights, values) {
      const result = new Float32Array(outputs);
      for (let o = 0; o < outputs; o++) {
        let sum = weights[outputs * inputs + o];
        for (let i = 0; i < inputs; i++) sum += weights[o * inputs + i] * values[i];
        result[o] = sum;
      }
      return result;
    },
    backward({outputs, inputs}, weights, values, above) {
      const result = new Float32Array(inputs);
      for (let o = 0; o < outputs; o++) {
        for (let i = 0; i < inputs; i++) result[i] += weights[o * inputs + i] * above[o];
      }
      return result;
    },
  },

  // 3x3 without padding; kernels lie [3, 3, inputs, outputs].
  convolution: {
    forward({height, width, inputs, outputs}, weights, values) {
      const result = new Float32Array((height - 2) * (width - 2) * outputs);
      const bias = weights.subarray(9 * inputs * outputs);
      for (let y = 0, out = 0; y < height - 2; y++) {
        for (let x = 0; x < width - 2; x++, out += outputs) {
          for (let o = 0; o < outputs; o++) result[out + o] = bias[o];
          for (let tap = 0; tap < 9; tap++) {
            const at = ((y + Math.trunc(tap / 3)) * width + x + (tap % 3)) * inputs;
            for (let i = 0; i < inputs; i++) {
              const value = values[at + i], row = (tap * inputs + i) * outputs;
              if (value === 0) continue;
              for (let o = 0; o < outputs; o++) result[out + o] += value * weights[row + o];
            }
          }
        }
      }
      return result;
    },
    backward({height, width, inputs, outputs}, weights, values, above) {
      const result = new Float32Array(height * width * inputs);
      for (let y = 0, out = 0; y < height - 2; y++) {
        for (let x = 0; x < width - 2; x++, out += outputs) {
          for (let tap = 0; tap < 9; tap++) {
            const at = ((y + Math.trunc(tap / 3)) * width + x + (tap % 3)) * inputs;
            for (let i = 0; i < inputs; i++) {
              const row = (tap * inputs + i) * outputs;
              let sum = 0;
              for (let o = 0; o < outputs; o++) sum += above[out + o] * weights[row + o];
              result[at + i] += sum;
            }
          }
        }
      }
      return result;
    },
  },

  // 2x2, rounding up.
  pool: {
    forward(layer, _, values) {
      return Float32Array.from(sources(layer, values), (at) => values[at]);
    },
    backward(layer, _, values, above) {
      const result = new Float32Array(values.length);
      sources(layer, values).forEach((at, out) => { result[at] += above[out]; });
      return result;
    },
  },

  activation: {
    forward({name}, _, values) {
      return values.map(ACTIVATIONS[name][0]);
    },
    backward({name}, _, values, above) {
      return values.map((value, at) => ACTIVATIONS[name][1](value) * above[at]);
    },
  },
};

// Where the largest value of each 2x2 lies.
function sources({height, width, channels}, values) {
  const result = [];
  for (let y = 0; y < height; y += 2) {
    for (let x = 0; x < width; x += 2) {
      for (let channel = 0; channel < channels; channel++) {
        let best = -1;
        for (let place = 0; place < 4; place++) {
          const row = y + (place >> 1), column = x + (place & 1);
          const at = (row * width + column) * channels + channel;
          if (row < height && column < width && (best < 0 || values[at] > values[best])) best = at;
        }
        result.push(best);
      }
    }
  }
  return result;
}

// What the first layer gets of an image, pixels 0..255, all channels alike.
function scaleInputs(network, image) {
  const {scaling, imageShape} = network, channels = imageShape[2] ?? 1;
  let values = Float32Array.from(image.data, (pixel) => pixel / 255);
  if (scaling.kind === "standardized") {
    values = values.map((value) => (value - scaling.mean) / scaling.std);
  } else if (scaling.kind === "image") {
    const mean = values.reduce((sum, value) => sum + value, 0) / values.length;
    const variance = values.reduce((sum, value) => sum + (value - mean) ** 2, 0) / values.length;
    const std = Math.sqrt(variance);
    values = values.map((value) =>
      (std > 1e-6 ? (value - mean) / std : 0) * scaling.std + scaling.mean);
  }
  return Float32Array.from(
    {length: values.length * channels}, (_, at) => values[Math.trunc(at / channels)]);
}

// The values before each layer, and the logits as the last.
function run(network, image) {
  const values = [scaleInputs(network, image)];
  for (const layer of network.layers) {
    const weights = network.weights.subarray(layer.start, layer.stop);
    values.push(LAYERS[layer.kind].forward(layer, weights, values[values.length - 1]));
  }
  return values;
}

function logitsOf(network, image) {
  return run(network, image).pop();
}

function probabilitiesOf(network, logits) {
  const most = Math.max(...logits);
  const powers = Array.from(logits, (value) => Math.exp((value - most) / network.temperature));
  const total = powers.reduce((sum, value) => sum + value, 0);
  return powers.map((value) => value / total);
}

// How much each pixel matters for one class: |d logit / d pixel|, summed over channels.
function saliencyOf(network, image, label) {
  const values = run(network, image);
  let gradient = new Float32Array(values.pop().length);
  gradient[label] = 1;
  for (let at = network.layers.length - 1; at >= 0; at--) {
    const layer = network.layers[at];
    const weights = network.weights.subarray(layer.start, layer.stop);
    gradient = LAYERS[layer.kind].backward(layer, weights, values[at], gradient);
  }
  const channels = network.imageShape[2] ?? 1, result = new Float32Array(image.data.length);
  gradient.forEach((value, at) => { result[Math.trunc(at / channels)] += Math.abs(value); });
  return result;
}
