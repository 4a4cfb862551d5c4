"""The smallest application of the framework: `graylag bench` compares the service with it."""

from fastapi import FastAPI

from sdk_contract.wire import PollRequest


def create_baseline_app() -> FastAPI:
    """Create an application whose only handler parses the body of a poll with Pydantic and does nothing else."""
    app = FastAPI(openapi_url=None, strict_content_type=False)

    @app.post("/v1/model/update")
    async def poll(body: PollRequest) -> dict[str, bool]:
        """Return a constant-sized response."""
        return {"need_update": not body.device_id}

    return app
