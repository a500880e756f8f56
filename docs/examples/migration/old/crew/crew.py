"""A crew of CrewAI: a taster and an editor write a newsletter about a tea."""

from crewai import Agent, Crew, Process, Task
from crewai.project import CrewBase, agent, crew, task
from crewai.tools import tool


@tool("tasting_notes")
def tasting_notes(tea: str) -> str:
    """Gives the tasting notes of a tea."""
    return {"sencha": "grass, sea, sweet", "assam": "malt, honey, strong"}.get(tea.lower(), "no notes")


@CrewBase
class NewsletterCrew:
    """Newsletter of the tea shop."""

    agents_config = "config/agents.yaml"
    tasks_config = "config/tasks.yaml"

    @agent
    def taster(self) -> Agent:
        return Agent(config=self.agents_config["taster"], tools=[tasting_notes], max_iter=4)

    @agent
    def editor(self) -> Agent:
        return Agent(config=self.agents_config["editor"])

    @task
    def tasting(self) -> Task:
        return Task(config=self.tasks_config["tasting"])

    @task
    def letter(self) -> Task:
        return Task(config=self.tasks_config["letter"], context=[self.tasting()], human_input=True)

    @crew
    def crew(self) -> Crew:
        return Crew(agents=self.agents, tasks=self.tasks, process=Process.sequential)
