"""A Modbus server on pymodbus for the mapper: modbus_server.py tcp|rtu.

Prints one line, the TCP port or the serial device, and serves until its standard input is closed.
Unit 1: each holding register holds its own address, coil 0 is on.
"""

import asyncio
import os
import sys
import tty

from pymodbus.datastore import ModbusDeviceContext, ModbusSequentialDataBlock, ModbusServerContext
from pymodbus.server import ModbusSerialServer, ModbusTcpServer


def context():
    # pymodbus counts the addresses of a block from 1.
    unit = ModbusDeviceContext(
        co=ModbusSequentialDataBlock(1, [True] + [False] * 99),
        di=ModbusSequentialDataBlock(1, [False] * 100),
        hr=ModbusSequentialDataBlock(1, list(range(200))),
        ir=ModbusSequentialDataBlock(1, [0x4366, 0x3333] + [0] * 98),
    )
    return ModbusServerContext(devices={1: unit}, single=False)


def line():
    """Two pseudo-terminals joined at their masters; the names of both ends."""
    (a, a_end), (b, b_end) = os.openpty(), os.openpty()
    for end in (a_end, b_end):
        tty.setraw(end)
    loop = asyncio.get_running_loop()
    loop.add_reader(a, lambda: os.write(b, os.read(a, 512)))
    loop.add_reader(b, lambda: os.write(a, os.read(b, 512)))
    return os.ttyname(a_end), os.ttyname(b_end)


async def main(kind):
    if kind == "tcp":
        server = ModbusTcpServer(context(), address=("127.0.0.1", 0))
        await server.listen()
        print(server.transport.sockets[0].getsockname()[1], flush=True)
    else:
        ours, theirs = line()
        server = ModbusSerialServer(context(), port=ours, baudrate=115200)
        await server.listen()
        print(theirs, flush=True)
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
    await server.shutdown()


asyncio.run(main(sys.argv[1]))
