"""A server whose acceptor does something that takes long with its first client, and measures that itself.

server.py MODE [PORT of the backend]: cpu, backend. Only what is built into the interpreter is imported.
"""
import _socket, sys, time, os

mode = sys.argv[1]


def hash_password():
    h, until = 1, time.thread_time_ns() + 2_500_000_000
    while time.thread_time_ns() < until:
        for i in range(1000):
            h = h * 1664525 + i & 0xFFFFFFFF
    return h


def query():
    s = _socket.socket(_socket.AF_INET, _socket.SOCK_STREAM)
    s.connect(("127.0.0.1", int(sys.argv[2])))
    s.send(b"SELECT 1")
    s.recv(1)
    s.close()


def say(*words):
    os.write(1, (" ".join(str(w) for w in words) + "\n").encode())


l = _socket.socket(_socket.AF_INET, _socket.SOCK_STREAM)
l.bind(("127.0.0.1", 0))
l.listen(64)
say("listens", l.getsockname()[1], os.fstat(l.fileno()).st_ino, os.getpid())
n = 0
while True:
    fd, _ = l._accept()
    if n == 0:
        begin, cpu = time.clock_gettime_ns(time.CLOCK_BOOTTIME), time.thread_time_ns()
        say("began")
        {"cpu": hash_password, "backend": query}[mode]()
        say("busy", begin, time.clock_gettime_ns(time.CLOCK_BOOTTIME), time.thread_time_ns() - cpu)
    os.close(fd)
    n += 1
