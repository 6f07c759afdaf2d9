"""Words of documents: fields, rules, values, limits, problems, and the base of layers. Layer: nn."""
