"""For those who write engines: the conformance kit and engines without a model."""
