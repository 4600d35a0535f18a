// Events of a run that goes on. A browser has six connections for one host: one tab holds the stream, and tells the rest.

export function follow(onEvent, onGone) {
  const name = `plateau ${location.pathname}`;
  const channel = "BroadcastChannel" in window ? new BroadcastChannel(name) : null;
  if (channel) channel.onmessage = ({ data }) => (data.gone ? onGone() : onEvent(data));
  const hold = () => new Promise(() => {
    const stream = new EventSource("events");
    stream.onmessage = ({ data }) => {
      const event = JSON.parse(data);
      channel?.postMessage(event);
      onEvent(event);
    };
    stream.onerror = () => {
      channel?.postMessage({ gone: true });
      onGone();
    };
  });
  if (channel && navigator.locks) navigator.locks.request(name, hold);
  else hold();
}
