"""Whether large blocks of memory are kept, told by the page faults that taking them again costs."""

import platform
import subprocess
import sys

PAGE_FAULTS = """
import resource, sys, qkv, numpy as np

tuned = qkv.tune_allocator() if sys.argv[1] == "tuned" else False
for _ in range(3):
    np.ones(8_000_000)
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(5):
    np.ones(8_000_000)
print(tuned, resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def page_faults(how: str) -> tuple[bool, int]:
    ran = subprocess.run([sys.executable, "-c", PAGE_FAULTS, how], capture_output=True, text=True, check=True)
    tuned, faults = ran.stdout.split()
    return tuned == "True", int(faults)


def test_a_tuned_process_keeps_large_blocks() -> None:
    """Blocks of 64 MB taken again and again fault page by page as glibc comes, and hardly ever when it was tuned."""
    was_tuned, few = page_faults("tuned")
    assert was_tuned == (platform.libc_ver()[0] == "glibc")
    if was_tuned:
        _, many = page_faults("as it comes")
        assert few < many / 10
