"""The SROS2 policy: what the node uses, and nothing else."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree

from harness import wait_until

POLICY = Path(__file__).parents[2] / "config" / "security" / "lane_detector.policy.xml"
SOMETIMES = {"/clock", "/image/compressed", "/tf", "/tf_static"}
"""Subscribed to with other parameters than the defaults."""


def allowed(kind: str, direction: str) -> set[str]:
    """Full names of the topics or services of a kind that the policy allows."""
    profile = ElementTree.parse(POLICY).find("enclaves/enclave/profiles/profile")
    assert profile is not None
    groups = profile.findall(f"{kind}s[@{direction}='ALLOW']")
    return {(item.text or "").replace("~", "/lane_detector") for group in groups for item in group}


def test_the_policy_allows_what_the_node_uses_and_nothing_else(start_node, client):
    node = start_node(use_tf=False)
    client.wait_for_state("active")

    def names(of: str) -> set[str]:
        found = getattr(client.node, f"get_{of}_names_and_types_by_node")(node.get_name(), "/")
        return {name for name, _ in found}

    assert allowed("topic", "publish") == wait_until(lambda: names("publisher"))
    assert allowed("topic", "subscribe") - SOMETIMES == names("subscriber")
    assert names("service") == allowed("service", "reply")
    assert names("client") == set()
