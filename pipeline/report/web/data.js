// What the page carries: numbers as JSON, packed bytes, pictures whose pixels are numbers.
const read = (id) => JSON.parse(document.getElementById(id).textContent);
const packedText = (id) => document.getElementById(id)?.textContent.trim() ?? "";
const bytesOf = (base64) => Uint8Array.from(atob(base64), (character) => character.charCodeAt(0));

const unpack = async (bytes, format) => {
  const stream = new DecompressionStream(format);
  const writer = stream.writable.getWriter();
  writer.write(bytes).catch(() => {}); // the reader below hears of it too
  writer.close().catch(() => {});
  return new Uint8Array(await new Response(stream.readable).arrayBuffer());
};

// Read the values of a map back from its picture: an indexed PNG of one IDAT chunk, as pipeline/report/png.py writes it.
const pixelsOf = async (image) => {
  const png = bytesOf(image.getAttribute("href").split(",")[1]);
  const view = new DataView(png.buffer);
  let width = 0;
  let height = 0;
  let rows = null;
  for (let at = 8; at < png.length; at += view.getUint32(at) + 12) {
    const kind = String.fromCharCode(...png.subarray(at + 4, at + 8));
    if (kind === "IHDR") [width, height] = [view.getUint32(at + 8), view.getUint32(at + 12)];
    if (kind === "IDAT") rows = await unpack(png.subarray(at + 8, at + 8 + view.getUint32(at)), "deflate");
  }
  const values = new Uint8Array(width * height);
  for (let y = 0; y < height; y++) {
    const filter = rows[y * (width + 1)];
    for (let x = 0; x < width; x++) {
      const at = y * width + x;
      const before = filter === 1 && x ? values[at - 1] : filter === 2 && y ? values[at - width] : 0;
      values[at] = rows[y * (width + 1) + 1 + x] + before; // wraps around at 256
    }
  }
  return { width, values };
};

const make = (tag, properties = {}, ...children) => {
  const element = Object.assign(document.createElement(tag), properties);
  element.append(...children);
  return element;
};

const drawn = (tag, attributes) => {
  const element = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  return element;
};
