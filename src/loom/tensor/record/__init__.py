"""Graphs of operations as they are recorded: nodes, layouts, drafts, memory, versions, timelines. Layer: tensor."""
