#!/usr/bin/env python3
"""A running server under load: events a second, the times of requests, questions meanwhile, and how soon it is back.

usage: server.py DIR [--seconds 20] [--only single,half,batch,beside,recovery] [--milepost BINARY]

DIR is a folder of compare.py: `beside` asks a funnel of a copy of its store (hard links) while batches come as fast as the
server takes them. The other parts begin with an empty store under it. Needs rustc for load.rs, and nothing of Python's
but what it comes with.
"""
import argparse
import glob
import json
import os
import re
import shutil
import signal
import statistics
import subprocess
import sys
import time
import urllib.request

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
FUNNEL = "FUNNEL pageView WHERE path = '/shoes', addedToCart, itemPurchased WITHIN 7 DAYS"


class Server:
    def __init__(self, args, store, settings=""):
        self.log = args.dir + "/server.log"
        config = args.dir + "/server.toml"
        with open(config, "w") as out:
            out.write(settings)
        self.began = time.time()
        command = [args.milepost, "--data", store, "--config", config, "--threads", "2", "serve", "--listen", "127.0.0.1:0", "--postgres", ""]
        self.process = subprocess.Popen(command, stderr=open(self.log, "w"))
        while True:
            text = open(self.log).read()
            found = re.search(r"http://(127\.0\.0\.1:[0-9]+)", text)
            if found and "listening" in text:
                self.address = found.group(1)
                self.took = time.time() - self.began
                return
            if self.process.poll() is not None:
                sys.exit(text)
            time.sleep(0.01)

    def ask(self, sql):
        """Milliseconds of a question, and its answer."""
        request = urllib.request.Request(f"http://{self.address}/v1/sql", sql.encode(), {"Content-Type": "text/plain"})
        began = time.perf_counter()
        text = urllib.request.urlopen(request, timeout=600).read().decode()
        return 1000 * (time.perf_counter() - began), [json.loads(line) for line in text.splitlines()]

    def end(self, how=signal.SIGTERM):
        self.process.send_signal(how)
        self.process.wait()


def load_tool(args):
    tool = args.dir + "/load"
    subprocess.run(["rustc", "-O", "--edition", "2024", "-A", "warnings", "-o", tool, HERE + "/load.rs"], check=True)
    return tool


def run_load(args, server, *words):
    done = subprocess.run([args.tool, server.address, *map(str, words)], capture_output=True, text=True)
    if done.returncode:
        sys.exit(done.stderr)
    print(done.stdout.strip(), flush=True)
    return done.stdout


def fresh(args):
    store = args.dir + "/served"
    shutil.rmtree(store, ignore_errors=True)
    return store


def singles(args):
    server = Server(args, fresh(args))
    told = run_load(args, server, "single", 64, args.seconds)
    if "half" in args.only:
        rate = int(float(re.search(r"([0-9]+) events/s", told).group(1))) // 2
        print(f"at half of that, {rate} a second:", flush=True)
        run_load(args, server, "single", 64, args.seconds, 0, rate)
    server.end()


def batches(args):
    server = Server(args, fresh(args))
    run_load(args, server, "batch", 4, args.seconds, 5_000)
    server.end()


def beside(args):
    store = args.dir + "/beside"
    shutil.rmtree(store, ignore_errors=True)
    linked = lambda source, target: os.link(source, target) if source.endswith(".parquet") else shutil.copy2(source, target)
    shutil.copytree(args.dir + "/milepost", store, copy_function=linked)
    server = Server(args, store)
    ask = lambda count: [server.ask(FUNNEL)[0] for _ in range(count)]
    ask(5)
    quiet = statistics.median(ask(40))
    for words in (("single", 64, args.seconds), ("batch", 4, args.seconds, 5_000)):
        load = subprocess.Popen([args.tool, server.address, *map(str, words)], stdout=subprocess.PIPE, text=True)
        time.sleep(1)
        times = []
        while load.poll() is None:
            times += ask(1)
        print(load.stdout.read().strip())
        loud = statistics.median(times)
        print(f"funnel beside {words[0]}: {loud:.1f} ms, quiet {quiet:.1f} ms, {loud / quiet:.2f} times ({len(times)} asked)", flush=True)
    server.end()


def recovery(args):
    """A log of a gibibyte that no flush has touched, a stop without a word, and the time until the server listens."""
    settings = "[flush]\nseconds = 100000\nevents = 1000000000\nmemory = \"100GiB\"\nmost_memory = \"100GiB\"\n"
    store = fresh(args)
    server = Server(args, store, settings)
    size = 0
    while size < 1 << 30:
        run_load(args, server, "batch", 4, 5, 5_000)
        size = sum(os.path.getsize(name) for name in glob.glob(store + "/log/*"))
    _, before = server.ask("SELECT count(*) AS n FROM loadSent")
    server.end(signal.SIGKILL)
    server = Server(args, store, settings)
    _, after = server.ask("SELECT count(*) AS n FROM loadSent")
    if before != after:
        sys.exit(f"{before} events before the stop, {after} after it")
    print(f"recovery of a log of {size / (1 << 30):.2f} GiB, {after[0]['n']} events: {server.took:.1f} s", flush=True)
    server.end(signal.SIGKILL)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dir")
    parser.add_argument("--seconds", type=int, default=20)
    parser.add_argument("--only", default="single,half,batch,beside,recovery")
    parser.add_argument("--milepost", default=ROOT + "/target/release/milepost")
    args = parser.parse_args()
    args.dir, args.milepost, args.only = os.path.abspath(args.dir), os.path.abspath(args.milepost), args.only.split(",")
    os.makedirs(args.dir, exist_ok=True)
    args.tool = load_tool(args)
    if {"single", "half"} & set(args.only):
        singles(args)
    if "batch" in args.only:
        batches(args)
    if "beside" in args.only:
        beside(args)
    if "recovery" in args.only:
        recovery(args)


if __name__ == "__main__":
    main()
