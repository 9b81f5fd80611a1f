"""pymodbus asks one unit everything that a simulator offers, and prints what it got as one JSON object.

modbus_client.py tcp HOST PORT | rtu-over-tcp HOST PORT | rtu DEVICE
"""

import json
import sys

from pymodbus import FramerType
from pymodbus.client import ModbusSerialClient, ModbusTcpClient

UNIT = 1


def connect(kind, *place):
    if kind == "rtu":
        return ModbusSerialClient(place[0], baudrate=19200, timeout=2, retries=0)
    framer = FramerType.RTU if kind == "rtu-over-tcp" else FramerType.SOCKET
    host, port = place
    return ModbusTcpClient(host, port=int(port), framer=framer, timeout=2, retries=0)


def main():
    client = connect(*sys.argv[1:])
    assert client.connect(), sys.argv

    def ask(name, **what):
        answer = getattr(client, name)(device_id=UNIT, **what)
        if answer.isError():
            return {"exception": answer.exception_code}
        return answer.registers if "registers" in name else answer.bits[: what["count"]]

    write = lambda name, **what: getattr(client, name)(device_id=UNIT, **what).isError()
    read = lambda address, count: ask("read_holding_registers", address=address, count=count)
    words = client.convert_from_registers
    said = {
        "refused": [
            write("write_coil", address=1, value=True),
            write("write_coils", address=2, values=[True, False, True]),
            write("write_register", address=0, value=1450),
            write("write_registers", address=1, values=[1, 2, 65535]),
            write("mask_write_register", address=1, and_mask=0xFF00, or_mask=0x0042),
        ],
        "coils": ask("read_coils", address=0, count=5),
        "discrete": ask("read_discrete_inputs", address=0, count=3),
        "holding": read(0, 4),
        "most": len(read(0, 125)),
        "hole": ask("read_input_registers", address=500, count=1),
        "float": words(
            ask("read_input_registers", address=0, count=2),
            data_type=client.DATATYPE.FLOAT32,
            word_order="little",
        ),
        "long": words(ask("read_input_registers", address=2, count=4), data_type=client.DATATYPE.INT64),
        "both": ask(
            "readwrite_registers", read_address=0, read_count=2, write_address=1, values=[77]
        ),
    }
    client.close()
    print(json.dumps(said))


main()
