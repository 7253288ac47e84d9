// Browsers load no modules from files, so main.js cannot say this itself.
if (location.protocol === 'file:') {
  document.addEventListener('DOMContentLoaded', () => {
    document.getElementById('card').classList.add('problem');
    document.getElementById('card-title').textContent = 'This page has to come from a web server';
    document.getElementById('card-text').textContent =
      'Browsers do not run it from a file. In its folder run: python3 -m http.server, ' +
      'then open http://localhost:8000';
    document.getElementById('status').textContent = 'Not started: opened from a file.';
  });
}
