"""The device file of plans in tests."""


def priced_device(name):
    """A made-up card of 20 GB at 2.50 dollars an hour."""
    return f"""
name = "{name}"
kind = "gpu"
peak_flops_per_s = 1e14
bandwidth_bytes_per_s = 1e12
memory_bytes = 2e10
dtype = "bfloat16"
source = "made up for tests"
price_per_hour_usd = 2.5
"""
