"""paho asks the embedded broker for everything that apps use: mqtt_client.py CHECK PORT [ARGUMENT...]

Each check runs over MQTT 3.1.1 and 5.0. Prints one line for each that passed; ends with an error at the first that did
not.
"""

import queue
import socket
import ssl
import sys
import time

import paho.mqtt.client as mqtt
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

PATIENCE = 20
VERSIONS = {"3.1.1": mqtt.MQTTv311, "5.0": mqtt.MQTTv5}


class App:
    """One client; what happens to it goes through queues, and each wait has an end."""

    def __init__(self, port, version, name, clean=True, will=None, login=None, tls=None):
        self.version, self.clean = version, clean
        self.messages, self.connects, self.ends, self.grants = (queue.Queue() for _ in range(4))
        session = {} if version == mqtt.MQTTv5 else {"clean_session": clean}
        self.client = mqtt.Client(
            mqtt.CallbackAPIVersion.VERSION2, client_id=name, protocol=version,
            reconnect_on_failure=False, **session,
        )  # fmt: skip
        self.client.on_message = lambda _client, _, message: self.messages.put(message)
        self.client.on_connect = lambda _client, _, *answer: self.connects.put(answer)
        self.client.on_disconnect = lambda _client, _, __, code, ___: self.ends.put(code)
        self.client.on_subscribe = lambda _client, _, __, codes, ___: self.grants.put(codes)
        if will:
            self.client.will_set(*will)
        if login:
            self.client.username_pw_set(*login)
        if tls:
            authority, *own = tls
            self.client.tls_set(ca_certs=authority, certfile=own[0] if own else None, keyfile=own[1] if own else None)
        more = {}
        if version == mqtt.MQTTv5:
            more["clean_start"] = clean
            if not clean:
                more["properties"] = properties = Properties(PacketTypes.CONNECT)
                properties.SessionExpiryInterval = 600
        self.client.connect("localhost" if tls else "127.0.0.1", port, keepalive=30, **more)
        self.client.loop_start()

    def up(self):
        """Waits for a good CONNACK; whether there was a session."""
        flags, code, self.granted = self.connects.get(timeout=PATIENCE)
        assert not code.is_failure, code
        return flags.session_present

    def subscribe(self, topic, qos=1):
        self.client.subscribe(topic, qos)
        return self.grants.get(timeout=PATIENCE)[0]

    def say(self, topic, payload="", qos=1, retain=False):
        said = self.client.publish(topic, payload, qos, retain)
        said.wait_for_publish(PATIENCE)
        assert said.is_published(), topic

    def hear(self):
        return self.messages.get(timeout=PATIENCE)

    def until(self, payload):
        """What comes before the message with this payload."""
        heard = []
        while (message := self.hear()).payload != payload.encode():
            heard.append(message)
        return heard

    def leave(self):
        self.client.disconnect()
        self.ends.get(timeout=PATIENCE)
        self.client.loop_stop()

    def die(self):
        """Without DISCONNECT, as when a process or a machine is gone."""
        self.client.socket().shutdown(socket.SHUT_RDWR)
        self.ends.get(timeout=PATIENCE)
        self.client.loop_stop()


def app(*arguments, **more):
    made = App(*arguments, **more)
    made.up()
    return made


def texts(messages):
    return [message.payload.decode() for message in messages]


def qos(port, version):
    """Each quality of what is published with each of what is subscribed: all come, once, in order, with the lower."""
    speaker = app(port, version, "speaker")
    for wanted in (0, 1, 2):
        listener = app(port, version, f"listener{wanted}")
        granted = listener.subscribe("qos/#", wanted)
        assert granted.value == wanted, granted
        for given in (0, 1, 2):
            for number in range(100):
                speaker.say(f"qos/{given}", str(number), given)
            speaker.say("qos/end", f"end{given}", 2)
            heard = listener.until(f"end{given}")
            assert texts(heard) == [str(number) for number in range(100)], texts(heard)
            assert {message.qos for message in heard} == {min(given, wanted)}
        listener.leave()
    speaker.leave()


def retained(port, version):
    speaker, live = app(port, version, "speaker"), app(port, version, "live")
    live.subscribe("kept/#", 1)
    for topic, payload in [("a", "first"), ("a", "second"), ("b", "other"), ("b", "")]:
        speaker.say(f"kept/{topic}", payload, 1, retain=True)
    speaker.say("kept/end", "end")
    heard = live.until("end")
    assert texts(heard) == ["first", "second", "other", ""], texts(heard)
    assert not any(message.retain for message in heard), "who is there hears it live"
    late = app(port, version, "late")
    late.subscribe("kept/#", 1)
    speaker.say("kept/end", "end again")
    heard = late.until("end again")
    assert [(m.topic, m.payload, m.retain) for m in heard] == [("kept/a", b"second", True)], heard
    speaker.say("kept/a", "", 1, retain=True)
    for each in (speaker, live, late):
        each.leave()


def will(port, version):
    listener = app(port, version, "listener")
    listener.subscribe("will/#", 2)
    orderly = app(port, version, "orderly", will=("will/orderly", "orderly", 1, False))
    orderly.leave()
    for quality in (0, 1, 2):
        sudden = app(port, version, "sudden", will=("will/sudden", f"gone{quality}", quality, False))
        sudden.die()
        message = listener.hear()
        assert (message.payload, message.qos) == (f"gone{quality}".encode(), quality), message.payload
    keeper = app(port, version, "keeper", will=("will/kept", "kept", 1, True))
    keeper.die()
    assert listener.hear().payload == b"kept"
    late = app(port, version, "late")
    late.subscribe("will/kept", 1)
    assert late.hear().retain
    late.say("will/kept", "", 1, retain=True)
    for each in (listener, late):
        each.leave()


def session(port, version):
    speaker = app(port, version, "speaker")
    # MQTT keeps the order within a quality.
    for quality in (1, 2):
        sleeper = App(port, version, f"sleeper{quality}-{version}", clean=False)
        assert not sleeper.up(), "there was none before"
        sleeper.subscribe("wait/#", 2)
        sleeper.leave()
        for number in range(100):
            speaker.say("wait/a", str(number), quality)
        sleeper = App(port, version, f"sleeper{quality}-{version}", clean=False)
        assert sleeper.up(), "it waited"
        speaker.say("wait/end", "end", quality)
        heard = sleeper.until("end")
        assert texts(heard) == [str(number) for number in range(100)], texts(heard)
        sleeper.leave()
    speaker.say("wait/a", "lost")
    sleeper = App(port, version, f"sleeper1-{version}", clean=True)
    assert not sleeper.up(), "a clean one forgets"
    sleeper.subscribe("wait/#", 1)
    speaker.say("wait/end", "end")
    assert sleeper.until("end") == []
    for each in (speaker, sleeper):
        each.leave()


def sizes(port, version, limit):
    """The largest packet passes; one octet more ends the connection, and nobody else's."""
    speaker, listener = app(port, version, "speaker"), app(port, version, "listener")
    if version == mqtt.MQTTv5:
        assert speaker.granted.MaximumPacketSize == int(limit), "it is told beforehand"
    listener.subscribe("size", 2)
    # Type and length, topic, packet identifier, and for 5.0 no properties.
    head = 1 + 3 + 2 + len("size") + 2 + (1 if version == mqtt.MQTTv5 else 0)
    for size in (0, 1, 127, 128, 16_383, 16_384, 100_000, int(limit) - head):
        for quality in (1, 2):
            speaker.say("size", bytes([size % 251]) * size, quality)
            message = listener.hear()
            assert message.payload == bytes([size % 251]) * size, (size, len(message.payload))
    speaker.client.publish("size", b"x" * (int(limit) - head + 1), 1)
    assert speaker.ends.get(timeout=PATIENCE).is_failure
    speaker = app(port, version, "speaker")
    speaker.say("size", "end", 1)
    assert listener.until("end") == [], "it went nowhere"
    for each in (speaker, listener):
        each.leave()


def filters(port, version):
    speaker = app(port, version, "speaker")
    wanted = {
        "f/+/x": ["f/a/x", "f//x"],
        "f/#": ["f", "f/a/x", "f/a/y", "f//x"],
        "+/a/+": ["f/a/x", "f/a/y", "/a/"],
        "f/a/x": ["f/a/x"],
        "+/+": [],
        "#": ["f", "f/a/x", "f/a/y", "f//x", "/a/"],
    }
    said = ["f", "f/a/x", "f/a/y", "f//x", "/a/", "$own/a"]
    for topic, matching in wanted.items():
        listener = app(port, version, "listener")
        listener.subscribe(topic, 1)
        listener.subscribe("filters-end", 1)
        for place in said:
            speaker.say(place, "x")
        speaker.say("filters-end", "end")
        heard = [message.topic for message in listener.until("end")]
        assert heard == matching, (topic, heard)
        listener.client.unsubscribe(topic)
        speaker.say("filters-end", "gone")
        listener.until("gone")
        listener.leave()
    shared(port, version, speaker)
    speaker.leave()


def shared(port, version, speaker):
    """Each message of a shared subscription goes to one of its clients."""
    sharers = [app(port, version, f"sharer{number}") for number in range(3)]
    for sharer in sharers:
        assert not sharer.subscribe("$share/group/work/#", 1).is_failure
        sharer.subscribe("work-end", 1)
    alone = app(port, version, "alone")
    alone.subscribe("work/#", 1)
    alone.subscribe("work-end", 1)
    for number in range(99):
        speaker.say("work/a", str(number))
    speaker.say("work-end", "end")
    shares = [texts(sharer.until("end")) for sharer in sharers]
    everything = [str(number) for number in range(99)]
    assert sorted(sum(shares, []), key=int) == everything, shares
    assert all(shares), "each has its share"
    assert texts(alone.until("end")) == everything
    for each in (*sharers, alone):
        each.leave()


def login(port, version, name, password):
    app(port, version, "known", login=(name, password)).leave()
    for wrong in [(name, "wrong"), ("nobody", password), None]:
        _, code, _ = App(port, version, "unknown", login=wrong).connects.get(timeout=PATIENCE)
        assert code.is_failure and "user name or password" in str(code).lower(), code


def tls(port, version, authority):
    """With the broker's certificate alone."""
    speaker = app(port, version, "speaker", tls=(authority,))
    listener = app(port, version, "listener", tls=(authority,))
    listener.subscribe("tls", 2)
    speaker.say("tls", b"x" * 100_000, 2)
    assert len(listener.hear().payload) == 100_000
    for each in (speaker, listener):
        each.leave()
    try:
        App(port, version, "distrustful", tls=(None,))
        raise AssertionError("it trusts an authority that nobody named")
    except ssl.SSLCertVerificationError:
        pass


def certificate(port, version, authority, own, key):
    """The broker asks for the client's certificate, too."""
    app(port, version, "known", tls=(authority, own, key)).leave()
    try:
        unknown = App(port, version, "unknown", tls=(authority,))
    except OSError:
        return
    unknown.ends.get(timeout=PATIENCE)
    assert unknown.connects.empty(), "it came in without a certificate"


def main():
    name, port, *arguments = sys.argv[1:]
    for word, version in VERSIONS.items():
        start = time.monotonic()
        globals()[name](int(port), version, *arguments)
        print(f"{name} over {word}: passed in {time.monotonic() - start:.1f} s", flush=True)


main()
