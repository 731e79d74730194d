# SPDX-License-Identifier: BSD-2-Clause
"""Real programs under load: each is started for one case, on sockets and files in its directory, and ended with it.

A machine's own redis, nginx or postgres is never spoken to: nothing here listens on a port or uses a path outside the case's
directory, and only processes that were started here are signalled.
"""
import os
import pwd
import shutil
import socket
import subprocess
import threading
import time

import case_programs
from harness import PYTHON, WORKLOADS, Failure, Skip, expect, scaled, seconds

POSTGRES_PATH = "/usr/lib/postgresql/15/bin"
NOBODY = pwd.getpwnam("nobody")         # postgres refuses to run as root


def program(name, package, path=None):
    """Where a program is, or a skip that names it."""
    found = shutil.which(name, path=path)
    if not found:
        raise Skip(f"{name} is not installed (package {package})")
    return found


def wait_until(condition, what, limit=60):
    deadline = time.monotonic() + seconds(limit)
    while not (result := condition()):
        expect(time.monotonic() < deadline, f"{what}: not within {seconds(limit)} seconds")
        time.sleep(0.05)
    return result


def children(pid):
    with open(f"/proc/{pid}/task/{pid}/children", encoding="ascii") as file:
        return [int(word) for word in file.read().split()]


class Load(threading.Thread):
    """Calls a function again and again until it is stopped. What went wrong there is told where it is stopped."""

    def __init__(self, function):
        super().__init__(daemon=True)
        self.function = function
        self.done = threading.Event()
        self.turns = 0
        self.error = None

    def run(self):
        try:
            while not self.done.is_set():
                self.function()
                self.turns += 1
        except Exception as error:  # of any kind: it belongs to the case, not to this thread
            self.error = error

    def stop(self):
        self.done.set()
        self.join(seconds(60))
        if self.error:
            raise Failure(f"the load failed after {self.turns} turns: {self.error!r}") from self.error
        expect(not self.is_alive() and self.turns, f"the load hangs after {self.turns} turns")


REDIS_REQUESTS = str(scaled(1000, 10))  # of each kind in a turn


class Redis:
    name = "redis-server"

    def __init__(self, place):
        self.server = case_programs.start_redis(place)
        self.socket = place.path("socket")
        self.pid = self.server.pid
        self.place = place

    def turn(self):
        for words in (["-r", "5000", "-t", "set,get,lpush,lpop,sadd,hset,zadd,lrange_100,mset"],
                      ["-r", "500", "eval", "return redis.call('append', KEYS[1], string.rep('x', 50))", "1", "__rand_int__"]):
            done = subprocess.run(
                ["redis-benchmark", "-s", self.socket, "-q", "-n", REDIS_REQUESTS, "-c", "20", "-d", "100", *words],
                stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=seconds(120), check=False)
            expect(done.returncode == 0, f"redis-benchmark failed: {done.stdout.decode()}")
        case_programs.redis(self.place, "FLUSHALL")

    def stop(self):
        case_programs.redis(self.place, "SHUTDOWN", "NOSAVE")
        expect(self.server.wait() == 0, f"redis-server exited with {self.server.wait()}")


NGINX = """
daemon off;
user {user};
worker_processes 1;
error_log {directory}/error.log;
pid {directory}/nginx.pid;
events {{ worker_connections 200; }}
http {{
	access_log off;
	gzip on;
	gzip_min_length 100;
	client_body_temp_path {directory}/body;
	proxy_temp_path {directory}/proxy;
	fastcgi_temp_path {directory}/fastcgi;
	uwsgi_temp_path {directory}/uwsgi;
	scgi_temp_path {directory}/scgi;
	server {{
		listen unix:{directory}/socket;
		root {directory}/files;
		autoindex on;
		location ~ ^/text/(.*)$ {{ default_type text/plain; return 200 "you asked for $1 with $request_method"; }}
		location /rewritten/ {{ rewrite ^/rewritten/(\\w+)$ /text/$1 last; }}
		location /again/ {{ proxy_pass http://unix:{directory}/socket:/; }}
	}}
}}
"""


class Nginx:
    """A master and a worker; the worker is what is looked at."""
    name = "nginx"
    requests = ("/file.html", "/", "/text/this", "/rewritten/that", "/again/file.html", "/missing", "/again/text/" + 900 * "a")

    def __init__(self, place):
        binary = program("nginx", "nginx-light", "/usr/sbin:/usr/bin")
        self.directory = place.path("nginx")
        os.makedirs(os.path.join(self.directory, "files"))
        with open(os.path.join(self.directory, "files", "file.html"), "w", encoding="ascii") as file:
            file.write("<p>something to compress</p>\n" * 500)
        configuration = os.path.join(self.directory, "nginx.conf")
        with open(configuration, "w", encoding="ascii") as file:
            file.write(NGINX.format(directory=self.directory, user=pwd.getpwuid(os.getuid()).pw_name))
        self.server = place.start([binary, "-p", self.directory, "-c", configuration, "-e", "stderr"])
        try:
            wait_until(lambda: self.server.child.poll() is not None or self.answers(), "nginx answers")
            expect(self.server.child.poll() is None, f"nginx ended: {self.server.stderr()}")
            self.pid, = children(self.server.pid)
        except BaseException:
            self.stop()
            raise

    def answers(self):
        try:
            return self.request(["/text/first"]).startswith(b"HTTP/1.1 200")
        except OSError:
            return False

    def request(self, paths, header="Accept-Encoding: gzip\r\n"):
        """All answers of one connection, which is closed after the last one."""
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(seconds(30))
            connection.connect(os.path.join(self.directory, "socket"))
            for path in paths:
                last = "Connection: close\r\n" if path is paths[-1] else ""
                connection.sendall(f"GET {path} HTTP/1.1\r\nHost: localhost\r\n{header}{last}\r\n".encode())
            answer = b""
            while piece := connection.recv(65536):
                answer += piece
        return answer

    def turn(self):
        expect(b"404 Not Found" in self.request(self.requests, "Cookie: " + 3000 * "c" + "\r\n"), "nginx found what is missing")
        for path in self.requests:
            expect(self.request([path]).startswith(b"HTTP/1.1 "), f"nginx does not answer {path}")

    def stop(self):
        """The master ends its workers; killed, it would leave them behind."""
        self.server.child.terminate()
        expect(self.server.wait() == 0, f"nginx exited with {self.server.wait()}: {self.server.stderr()}")


POSTGRES_SETUP = """
CREATE TABLE things (id integer PRIMARY KEY, kind text, amount numeric, about jsonb);
INSERT INTO things SELECT i, 'kind ' || i % 17, i * 1.5, jsonb_build_object('i', i) FROM generate_series(1, 2000) AS i;
CREATE FUNCTION total(wanted text) RETURNS numeric LANGUAGE plpgsql AS
	$$ DECLARE sum numeric := 0; row record;
	BEGIN FOR row IN SELECT amount FROM things WHERE kind = wanted LOOP sum := sum + row.amount; END LOOP; RETURN sum; END $$;
ANALYZE;
"""
POSTGRES_QUERIES = (
    "SELECT kind, count(*), sum(amount) FROM things GROUP BY kind ORDER BY 3 DESC",
    "SELECT a.id FROM things a JOIN things b ON a.id = b.id + 1 WHERE b.kind LIKE '%7' ORDER BY a.amount LIMIT 20",
    "UPDATE things SET about = about || '{\"seen\": true}' WHERE id % 97 = 3",
    "SELECT total('kind 5'), string_agg(kind, ',') FROM things WHERE id < 300",
    "SELECT regexp_replace(kind, '[aeiou]+', '_', 'g'), row_number() OVER (ORDER BY amount) FROM things WHERE id < 200",
    "CREATE TEMP TABLE few AS SELECT * FROM things WHERE id < 500",
    "CREATE INDEX ON few (kind, amount)",
    "WITH RECURSIVE t(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM t WHERE n < 200) SELECT sum(n) FROM t",
    "DROP TABLE few",
    "DO $$ BEGIN PERFORM 1 / 0; EXCEPTION WHEN division_by_zero THEN NULL; END $$",
    "EXPLAIN SELECT * FROM things a, things b WHERE a.id = b.id",
)


def postgres_user(place):
    """How its programs are started: by a user without rights, in a directory of theirs."""
    directory = place.path("postgres")
    return {"user": NOBODY.pw_uid, "group": NOBODY.pw_gid, "extra_groups": [], "cwd": directory,
            "env": {"PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8", "HOME": directory, "PGTZ": "UTC"}}


def make_cluster(place):
    """What a Postgres in this place serves, if it is to be there before."""
    initdb = program("initdb", "postgresql-15", POSTGRES_PATH)
    os.chmod(place.directory, 0o711)
    directory = place.path("postgres")
    os.mkdir(directory)
    os.chown(directory, NOBODY.pw_uid, NOBODY.pw_gid)
    made = subprocess.run([initdb, "-D", f"{directory}/data", "-U", "tester", "-A", "trust", "-N", "-E", "UTF8"],
                          stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=seconds(60),
                          check=False, **postgres_user(place))
    expect(made.returncode == 0, f"initdb failed: {made.stdout.decode()}")


class Postgres:
    """A cluster of its own; the backend of one session is what is looked at."""
    name = "postgres"

    def __init__(self, place):
        server = program("postgres", "postgresql-15", POSTGRES_PATH)
        psql = program("psql", "postgresql-client-15", POSTGRES_PATH)   # the one in PATH is a script of Perl that looks for it
        self.directory = place.path("postgres")
        if not os.path.exists(self.directory):
            make_cluster(place)
        self.user = postgres_user(place)
        self.server = place.start(
            [server, "-D", os.path.join(self.directory, "data"), "-k", self.directory, "-c", "listen_addresses=", "-c", "fsync=off",
             "-c", "dynamic_shared_memory_type=mmap", "-c", "max_parallel_workers_per_gather=0"], **self.user)
        try:
            wait_until(lambda: self.server.child.poll() is not None or self.is_ready(), "postgres is ready")
            expect(self.server.child.poll() is None, f"postgres ended: {self.server.stderr()}")
            self.session = place.start([psql, "-X", "-q", "-t", "-A", "-h", self.directory, "-U", "tester", "postgres"], **self.user)
            self.ask(POSTGRES_SETUP)
            self.pid = self.ask("SELECT json_build_object('pid', pg_backend_pid());")["pid"]
            expect(self.pid in children(self.server.pid), f"{self.pid} is no backend of this postgres")
        except BaseException:
            self.stop()
            raise

    def is_ready(self):
        """The last line of postmaster.pid tells (src/include/utils/pidfile.h, PM_STATUS_READY)."""
        try:
            with open(os.path.join(self.directory, "data", "postmaster.pid"), encoding="ascii") as file:
                return file.read().split()[-1] == "ready"
        except (FileNotFoundError, IndexError):
            return False

    def ask(self, text):
        """Waits for the one line of JSON that follows the answer of `text`."""
        self.session.child.stdin.write((text + "\n\\echo {\"done\": true}\n").encode())
        self.session.child.stdin.flush()
        told = self.session.told()
        return {**told, **self.session.told()} if "done" not in told else told

    def turn(self):
        for query in POSTGRES_QUERIES:
            self.ask(query + ";")
            self.session.other_output.clear()
        expect(not self.session.stderr(), f"psql says: {self.session.stderr()}")

    def stop(self):
        """SIGINT is a fast shutdown: sessions are ended, shared memory is given back."""
        self.server.signal(2)
        expect(self.server.wait() == 0, f"postgres exited with {self.server.wait()}: {self.server.stderr()}")


class Python:
    """A script that allocates in many ways in three threads; it works until its input ends."""
    name = "python3 + numpy"

    def __init__(self, place):
        self.script = place.start([PYTHON, os.path.join(WORKLOADS, "numpy_mix.py")])
        self.pid = self.script.told()["pid"]

    def turn(self):
        """It turns by itself."""
        expect(self.script.child.poll() is None, f"numpy_mix.py ended: {self.script.stderr()}")
        time.sleep(0.1)

    def stop(self):
        self.script.go()
        told = self.script.told()
        expect(told["turns"] > 0 and self.script.wait() == 0, f"numpy_mix.py: {told} {self.script.stderr()}")
