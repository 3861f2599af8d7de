// Runs before the first paint: a linked search starts in its final layout, so nothing moves.
document.documentElement.dataset.view = /[?&](q|picture)=/.test(location.search) ? "results" : "home";
