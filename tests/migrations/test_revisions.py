import migrations


def test_the_schema_can_be_upgraded_downgraded_and_upgraded_again(empty_database_url):
    migrations.upgrade(empty_database_url)
    assert migrations.current(empty_database_url) == migrations.head()
    migrations.downgrade(empty_database_url)
    assert migrations.current(empty_database_url) is None
    migrations.upgrade(empty_database_url)
    assert migrations.current(empty_database_url) == migrations.head()


def test_the_migrations_create_the_tables_of_the_store(database_url):
    migrations.check(database_url)
