"""The paper "DeepFake Detection in Deep Learning" again: its models under its protocols and under an honest one."""
