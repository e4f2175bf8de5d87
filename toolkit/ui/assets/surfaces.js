// Surfaces to draw on. Making one takes up to a second where no graphics card compiles its shaders, and a browser keeps
// only 16 of them, so the surface of a view that goes away waits here for the next view.

const spares = (window.toolkitSurfaces ??= []);

function hasWebGL() {
  const context = document.createElement("canvas").getContext("webgl2");
  context?.getExtension("WEBGL_lose_context")?.loseContext();
  return Boolean(context);
}

// Raises an Error where the browser cannot draw.
function takeSurface(stage, library) {
  const spare = spares.pop();
  if (spare) {
    stage.append(spare.element);
    spare.viewer.resize();
    return spare;
  }
  window.toolkitWebGL ??= hasWebGL();
  if (!window.toolkitWebGL) {
    throw new Error("This browser offers no WebGL 2, so structures cannot be drawn. Switch on hardware acceleration, or "
      + "use a recent Firefox, Chrome, Edge or Safari.");
  }
  const element = document.createElement("div");
  element.className = "surface";
  stage.append(element);
  const viewer = library.createViewer(element, { backgroundColor: "black", backgroundAlpha: 0, disableFog: true, antialias: true });
  return { element, viewer, home: viewer.getView() };
}

function giveBackSurface(surface) {
  surface.viewer.setViewChangeCallback(() => {});
  surface.viewer.clear();
  surface.element.remove();
  spares.push(surface);
}
