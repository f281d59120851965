"""`/v1/rerank` and `/v1/score`: how well documents answer a query."""
