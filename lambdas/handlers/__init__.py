"""One module per Lambda function: each translates its payload, calls logic, and translates the result.

A payload is one of the dataclasses beside its handler, read as strictly as any document of the contract. Results go into
execution histories, so they are counts, UIDs and ids.
"""
