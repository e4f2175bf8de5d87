// Pictures and movies of the 3D view, saved by the browser.

const MOVIE_TYPES = ["video/webm;codecs=vp9", "video/webm;codecs=vp8", "video/webm"];

function save(address, name) {
  const link = document.createElement("a");
  link.href = address;
  link.download = name.replace(/[^A-Za-z0-9._-]+/g, "_");
  link.click();
}

// Records what a canvas shows, over the colour behind it, as WebM. Returns undefined where the browser cannot.
class Recorder {
  static create(canvas, background, name) {
    const type = MOVIE_TYPES.find((each) => window.MediaRecorder?.isTypeSupported(each));
    return type && canvas.captureStream ? new Recorder(canvas, background, name, type) : undefined;
  }

  constructor(canvas, background, name, type) {
    this.source = canvas;
    this.picture = document.createElement("canvas");
    this.picture.width = canvas.width & ~1; // encoders want even numbers
    this.picture.height = canvas.height & ~1;
    this.background = background;
    this.parts = [];
    this.recorder = new MediaRecorder(this.picture.getContext("2d") && this.picture.captureStream(),
      { mimeType: type, videoBitsPerSecond: 8e6 });
    this.recorder.ondataavailable = (event) => this.parts.push(event.data);
    this.recorder.onstop = () => {
      const address = URL.createObjectURL(new Blob(this.parts, { type: "video/webm" }));
      save(address, `${name}.webm`);
      setTimeout(() => URL.revokeObjectURL(address), 60_000);
    };
    this.add();
    this.recorder.start();
  }

  add() {
    const pen = this.picture.getContext("2d");
    pen.fillStyle = this.background;
    pen.fillRect(0, 0, this.picture.width, this.picture.height);
    pen.drawImage(this.source, 0, 0);
  }

  stop() {
    this.recorder.stop();
  }
}
