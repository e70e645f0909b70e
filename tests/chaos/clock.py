"""A server whose clock is turned while it runs: a small library in front of the system's, if a C compiler is there."""

from __future__ import annotations

import struct
import subprocess
from pathlib import Path

SOURCE = r"""
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>
static volatile long *turned;
__attribute__((constructor)) static void begin(void) {
    int file = open(getenv("TURNED_CLOCK"), O_RDONLY);
    turned = mmap(0, sizeof(long), PROT_READ, MAP_SHARED, file, 0);
}
int clock_gettime(clockid_t clock, struct timespec *now) {
    int failed = syscall(SYS_clock_gettime, clock, now);
    if (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE) now->tv_sec += *turned;
    return failed;
}
int gettimeofday(struct timeval *now, void *zone) {
    struct timespec exact;
    clock_gettime(CLOCK_REALTIME, &exact);
    now->tv_sec = exact.tv_sec, now->tv_usec = exact.tv_nsec / 1000;
    return 0;
}
time_t time(time_t *now) {
    struct timespec exact;
    clock_gettime(CLOCK_REALTIME, &exact);
    if (now) *now = exact.tv_sec;
    return exact.tv_sec;
}
"""


class TurnedClock:
    """A server's program that lives by a clock of its own; blocks while it is made."""

    def __init__(self, folder: Path, binary: Path) -> None:
        self.program = folder / "server"
        self._seconds = folder / "seconds"
        self._seconds.write_bytes(struct.pack("@l", 0))
        library, source = folder / "clock.so", folder / "clock.c"
        source.write_text(SOURCE)
        subprocess.run(["cc", "-shared", "-fPIC", "-O2", "-o", library, source], check=True)
        self.program.write_text(f'#!/bin/sh\nTURNED_CLOCK={self._seconds} LD_PRELOAD={library} exec {binary} "$@"\n')
        self.program.chmod(0o700)

    def turn(self, seconds: int) -> None:
        """Let the clock be so many seconds ahead of the machine's, or behind it."""
        with self._seconds.open("r+b") as file:
            file.write(struct.pack("@l", seconds))
