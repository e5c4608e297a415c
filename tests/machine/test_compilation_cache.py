import os
import pathlib
import subprocess
import sys

COMPILE = """
import jax
from resnet_jax.machine.compilation_cache import keep_compiled_code
events = []
jax.monitoring.register_event_listener(lambda event, **_: events.append(event))
keep_compiled_code()
jax.jit(lambda x: x + 1)(1.0)
print(events.count("/jax/compilation_cache/cache_hits"))
"""


def compile_in_a_process(home):
    given = {name: value for name, value in os.environ.items() if "_CACHE_" not in name}
    own = {"XDG_CACHE_HOME": str(home), "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0"}
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", COMPILE],
        env=given | own | {"PYTHONPATH": str(pathlib.Path(__file__).parents[2])},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    return int(done.stdout)


def test_compiled_code_is_kept_in_the_users_cache_even_where_a_process_was_killed(tmp_path):
    assert compile_in_a_process(tmp_path) == 0
    (entry,) = (tmp_path / "resnet_jax" / "xla").glob("*-cache")
    whole = entry.read_bytes()
    assert compile_in_a_process(tmp_path) == 1
    # What is left of a write that was killed.
    entry.write_bytes(whole[:100])
    entry.with_name(entry.name.removesuffix("cache") + "atime").unlink()
    assert compile_in_a_process(tmp_path) == 0
    assert compile_in_a_process(tmp_path) == 1
