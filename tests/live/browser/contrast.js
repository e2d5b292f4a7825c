// Every text of the page whose contrast with what is behind it is below 4.5 (WCAG 2.2, 1.4.3).
() => {
  const pixel = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
  const parsed = (color) => {
    pixel.clearRect(0, 0, 1, 1);
    pixel.fillStyle = color;
    pixel.fillRect(0, 0, 1, 1);
    const [red, green, blue, opaque] = pixel.getImageData(0, 0, 1, 1).data;
    return [red, green, blue, opaque / 255];
  };
  const over = (above, below) => [...[0, 1, 2].map((i) => above[i] * above[3] + below[i] * (1 - above[3])), 1];
  const behind = (element) => {
    const layers = [];
    for (let one = element; one; one = one.parentElement) layers.unshift(parsed(getComputedStyle(one).backgroundColor));
    return layers.reduce((below, above) => over(above, below), [255, 255, 255, 1]);
  };
  const linear = (value) => (value <= 0.03928 * 255 ? value / 255 / 12.92 : ((value / 255 + 0.055) / 1.055) ** 2.4);
  const light = (color) => 0.2126 * linear(color[0]) + 0.7152 * linear(color[1]) + 0.0722 * linear(color[2]);
  const contrast = (element, color) => {
    const ground = behind(element);
    const [low, high] = [light(over(parsed(color), ground)), light(ground)].sort((a, b) => a - b);
    return (high + 0.05) / (low + 0.05);
  };
  document.querySelectorAll("details").forEach((one) => (one.open = true));
  const found = [];
  const look = (element, color, text) => {
    const ratio = contrast(element, color);
    if (ratio < 4.5) found.push(`${text}: ${ratio.toFixed(2)}`);
  };
  const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (texts.nextNode()) {
    const [text, element] = [texts.currentNode.textContent.trim(), texts.currentNode.parentElement];
    if (!text || !element.getClientRects().length || element.closest("title, script, style")) continue;
    const style = getComputedStyle(element);
    look(element, element.closest("svg") ? style.fill : style.color, text.slice(0, 40));
  }
  for (const one of document.querySelectorAll("table.heat a.drift")) look(one, getComputedStyle(one, "::after").color, one.title);
  return found;
}
