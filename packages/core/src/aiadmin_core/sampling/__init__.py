"""From a step's logits to its tokens: one call for all sequences, the same arithmetic for every backend.

`step.StepSampler.choose` is the call; a `choice.ChoiceSampler` holds what one choice brings to it (settings, history,
random numbers). In the runner only: it needs numpy.
"""
