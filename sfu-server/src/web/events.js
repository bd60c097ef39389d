// Server-sent events (HTML standard, §9.2), read by fetch: as EventSource reads them, but with headers of ours, such as a
// token. It knows no event in particular.

/// An event may have this many characters; a server that sends more is given up.
const EVENT_LENGTH_MAX = 256 * 1024;

/// Calls `hear(name, data)` for each event of a response's body until it ends.
export async function readEvents(body, hear) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = '';
  let event = { name: '', data: [] };
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    // A carriage return at the end may be half of a line's end.
    const lines = (rest + value).split(/\r\n|\n|\r(?!$)/);
    rest = lines.pop();
    for (const line of lines) {
      if (line) {
        read(line, event);
      } else {
        if (event.data.length) hear(event.name || 'message', event.data.join('\n'));
        event = { name: '', data: [] };
      }
    }
    if (rest.length + lengthOf(event) > EVENT_LENGTH_MAX) {
      await reader.cancel();
      throw new Error('an event is too long');
    }
  }
}

/// `field: value`; a line that begins with a colon is a comment.
function read(line, event) {
  const [, field, value] = line.match(/^([^:]*)(?:: ?(.*))?$/s);
  if (field === 'event') event.name = value ?? '';
  if (field === 'data') event.data.push(value ?? '');
}

function lengthOf({ data }) {
  return data.reduce((sum, line) => sum + line.length, 0);
}
