"""The Networks of the mission, to the letter."""

from __future__ import annotations

__all__ = ["RESEARCH", "SUPPORT"]

SUPPORT = """\

apiVersion: mastra.ai/v1
kind: Network
metadata:
  name: customer-support
spec:
  instructions: "客户支持网络，由多个专业代理组成"
  agents:
    - name: greeter
      ref: agents/greeter
    - name: technical
      ref: agents/technical
    - name: billing
      ref: agents/billing
  router:
    model:
      provider: openai
      name: gpt-4
"""

RESEARCH = """\
# 智能体网络声明示例
apiVersion: mastra.ai/v1
kind: Network
metadata:
  name: research-network
  namespace: default
spec:
  instructions: "此网络协调多个智能体进行深入研究，包括搜索、分析和总结。"
  agents:
    - name: search-agent
      ref: default.search-agent
    - name: analysis-agent
      ref: default.analysis-agent
    - name: summary-agent
      ref: default.summary-agent
  router:
    model:
      provider: openai
      name: gpt-4o
    maxSteps: 15
  state:
    persistence: true
    ttl: 3600
"""
