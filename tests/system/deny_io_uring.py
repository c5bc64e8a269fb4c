"""Runs a command in whose process io_uring does not exist: deny_io_uring.py COMMAND ... The seccomp filter answers EPERM."""

import ctypes
import os
import struct
import sys

PR_SET_NO_NEW_PRIVS = 38
PR_SET_SECCOMP = 22
SECCOMP_MODE_FILTER = 2
IO_URING_SETUP = 425  # the same number on every architecture, as are 426 and 427
LOAD, JUMP_AT_LEAST, JUMP_ABOVE, RETURN = 0x20, 0x35, 0x25, 0x06
ALLOW, EPERM = 0x7FFF0000, 0x00050001


def instruction(code, value, yes=0, no=0):
    return struct.pack("<HBBI", code, yes, no, value)


def main():
    program = (instruction(LOAD, 0) + instruction(JUMP_AT_LEAST, IO_URING_SETUP, 0, 2) +
               instruction(JUMP_ABOVE, IO_URING_SETUP + 2, 1, 0) + instruction(RETURN, EPERM) + instruction(RETURN, ALLOW))
    filters = ctypes.create_string_buffer(program, len(program))
    header = struct.pack("HxxxxxxQ", len(program) // 8, ctypes.addressof(filters))
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 or libc.prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, header, 0, 0) != 0:
        print(f"seccomp: {os.strerror(ctypes.get_errno())}", file=sys.stderr)
        return 125
    os.execvp(sys.argv[1], sys.argv[1:])


if __name__ == "__main__":
    sys.exit(main())
