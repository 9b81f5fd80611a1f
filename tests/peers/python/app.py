"""An application for KubeEdge, written from the description of its MQTT topics: app.py PORT NODE

It looks after a lamp, which has no mapper: it reports how bright the lamp is and makes it as bright as somebody wants.
And it watches a pump, which has a mapper: each hundred of the pump's level is the next setpoint. What it sees and does
goes to standard output as lines of JSON. It ends when its standard input is closed.
"""

import json
import sys
import uuid

import paho.mqtt.client as mqtt

DEVICE = "$hw/events/device/"
NODE = "$hw/events/node/"
LAMP, PUMP = "test/lamp", "test/pump"


def emit(event, **more):
    print(json.dumps({"event": event, **more}), flush=True)


class App:
    def __init__(self, port, node):
        self.node = node
        self.asked = {}
        self.client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, client_id="app")
        self.client.on_connect = self.connected
        self.client.on_subscribe = self.subscribed
        for topic, hear in {
            NODE + node + "/membership/get/result": self.devices,
            NODE + node + "/membership/updated": self.membership,
            DEVICE + "+/+/twin/get/result": self.twin,
            DEVICE + "+/+/twin/update/result": self.result,
            DEVICE + "+/+/twin/update/document": self.document,
            DEVICE + "+/+/twin/update/delta": self.delta,
            DEVICE + "+/+/state/update/result": self.state,
        }.items():
            self.asked[topic] = hear
            self.client.message_callback_add(topic, self.reader(hear))
        self.client.connect("127.0.0.1", port)
        self.client.loop_start()

    @staticmethod
    def reader(hear):
        def read(_client, _, message):
            levels = message.topic.split("/")
            # $hw/events/device/<namespace>/<name>/...
            device = "/".join(levels[3:5])
            hear(device, json.loads(message.payload))

        return read

    def connected(self, client, _, __, code, ___):
        assert not code.is_failure, code
        client.subscribe([(topic, 1) for topic in self.asked])

    def subscribed(self, *_):
        self.ask(NODE + self.node + "/membership/get")

    def ask(self, topic, **more):
        event_id = str(uuid.uuid4())
        self.client.publish(topic, json.dumps({"event_id": event_id, "timestamp": 0, **more}), qos=1)
        return event_id

    def report(self, device, name, value):
        self.ask(DEVICE + device + "/twin/update", twin={name: {"actual": {"value": value}}})

    def want(self, device, name, value):
        self.ask(DEVICE + device + "/twin/update", twin={name: {"expected": {"value": value}}})
        emit("wanted", device=device, property=name, value=value)

    def devices(self, _, answer):
        emit("devices", ids=[device["id"] for device in answer["devices"]])
        for device in answer["devices"]:
            self.ask(DEVICE + device["id"] + "/twin/get")

    def membership(self, _, answer):
        for change in ("added_devices", "removed_devices"):
            emit(change, ids=[device["id"] for device in answer[change] or []])

    def twin(self, device, answer):
        actual = lambda twin: (twin.get("actual") or {}).get("value")
        emit("twin", device=device, actual={name: actual(twin) for name, twin in answer["twin"].items()})
        if device == LAMP:
            self.ask(DEVICE + LAMP + "/state/update", state="online")
            self.report(LAMP, "brightness", "0")

    def result(self, device, answer):
        if "code" in answer:
            emit("refused", device=device, code=answer["code"], reason=answer["reason"])

    def document(self, device, answer):
        for name, change in answer["twin"].items():
            side = lambda twin: ((twin or {}).get("actual") or {}).get("value")
            last, current = side(change["last"]), side(change["current"])
            if last == current:
                continue
            emit("changed", device=device, property=name, last=last, current=current)
            if (device, name) == (PUMP, "level") and int(current) % 100 == 0:
                self.want(PUMP, "setpoint", current)

    def delta(self, device, answer):
        for name, value in answer["delta"].items():
            emit("delta", device=device, property=name, value=value)
            if device == LAMP:
                # A real one turns a knob here.
                self.report(LAMP, name, value)

    def state(self, _, answer):
        device = answer["device"]
        emit("state", device=device["name"], state=device["state"])


def main():
    port, node = sys.argv[1:]
    app = App(int(port), node)
    sys.stdin.read()
    app.client.disconnect()
    app.client.loop_stop()


main()
