"""The least that the framework can answer: the yardstick of `graylag bench`."""

from fastapi import FastAPI

from sdk_contract.wire import PollRequest


def empty_app() -> FastAPI:
    """An application with one handler that parses a poll's body with Pydantic and does nothing."""
    app = FastAPI(openapi_url=None, strict_content_type=False)

    @app.post("/v1/model/update")
    async def nothing(body: PollRequest) -> dict[str, bool]:
        """Answer at once."""
        return {"need_update": not body.device_id}

    return app
