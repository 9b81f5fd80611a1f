"""A mapper that shares no line with ours: grpcio, with code generated from the contract.

It registers with an agent, serves the agent's calls on a socket of its own, and calls the agent as the lines of its
standard input say:

    {"call": "ReportDeviceStatus", "request": {…protobuf JSON…}, "times": 1}

With times > 1 the value of each reported twin becomes the number of the call. Each line of its standard output is one
JSON object with a member "event": listening, answer, device, model, called. It ends with its input.
"""

import argparse
import json
import sys
import threading
import time
from concurrent import futures

import grpc
from google.protobuf import any_pb2, struct_pb2, wrappers_pb2  # noqa: F401  known to the JSON printer
from google.protobuf.json_format import MessageToDict, ParseDict

import dmi_pb2
import dmi_pb2_grpc

OUTPUT = threading.Lock()


def emit(event, **members):
    with OUTPUT:
        print(json.dumps({"event": event, **members}), flush=True)


def as_json(message):
    return MessageToDict(message)


class Mapper(dmi_pb2_grpc.DeviceMapperServiceServicer):
    """The agent's calls: each is printed, and answered."""

    def RegisterDevice(self, request, context):
        emit("called", call="RegisterDevice", request=as_json(request))
        return dmi_pb2.RegisterDeviceResponse(
            deviceName=request.device.name, deviceNamespace=request.device.namespace
        )

    def UpdateDevice(self, request, context):
        emit("called", call="UpdateDevice", request=as_json(request))
        return dmi_pb2.UpdateDeviceResponse()

    def RemoveDevice(self, request, context):
        emit("called", call="RemoveDevice", request=as_json(request))
        return dmi_pb2.RemoveDeviceResponse()

    def CreateDeviceModel(self, request, context):
        emit("called", call="CreateDeviceModel", request=as_json(request))
        return dmi_pb2.CreateDeviceModelResponse(
            deviceModelName=request.model.name, deviceModelNamespace=request.model.namespace
        )

    def UpdateDeviceModel(self, request, context):
        emit("called", call="UpdateDeviceModel", request=as_json(request))
        return dmi_pb2.UpdateDeviceModelResponse()

    def RemoveDeviceModel(self, request, context):
        emit("called", call="RemoveDeviceModel", request=as_json(request))
        return dmi_pb2.RemoveDeviceModelResponse()


def call(stub, name, request, times=1):
    message = ParseDict(request, getattr(dmi_pb2, name + "Request")())
    method = getattr(stub, name)
    ok, failed = 0, 0
    code, text, headers = "OK", "", {}
    answer = None
    start = time.monotonic()
    for count in range(1, times + 1):
        if times > 1:
            for twin in message.reportedDevice.twins:
                twin.reported.value = str(count)
        try:
            answer, done = method.with_call(message, timeout=10)
            headers = dict(done.initial_metadata())
            ok += 1
        except grpc.RpcError as error:
            code, text = error.code().name, error.details()
            failed += 1
    seconds = time.monotonic() - start
    if name == "MapperRegister" and answer is not None:
        for device in answer.deviceList:
            emit("device", device=as_json(device))
        for model in answer.modelList:
            emit("model", model=as_json(model))
    emit(
        "answer", call=name, code=code, message=text,
        headers=headers, ok=ok, failed=failed, seconds=seconds,
    )  # fmt: skip


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--agent", required=True, help="path of the agent's socket")
    parser.add_argument("--listen", required=True, help="path of the own socket")
    parser.add_argument("--name", default="python-peer")
    parser.add_argument("--protocol", default="modbus")
    options = parser.parse_args()

    server = grpc.server(futures.ThreadPoolExecutor(max_workers=2))
    dmi_pb2_grpc.add_DeviceMapperServiceServicer_to_server(Mapper(), server)
    server.add_insecure_port("unix://" + options.listen)
    server.start()
    emit("listening", socket=options.listen)

    with grpc.insecure_channel("unix://" + options.agent) as channel:
        stub = dmi_pb2_grpc.DeviceManagerServiceStub(channel)
        mapper = dmi_pb2.MapperInfo(
            name=options.name, version="v1.13.0", api_version="v1.0.0", protocol=options.protocol,
            address=options.listen.encode(), state="ok",
        )  # fmt: skip
        registration = dmi_pb2.MapperRegisterRequest(withData=True, mapper=mapper)
        call(stub, "MapperRegister", as_json(registration))
        for line in sys.stdin:
            todo = json.loads(line)
            call(stub, todo["call"], todo["request"], todo.get("times", 1))
    server.stop(grace=None)


if __name__ == "__main__":
    main()
