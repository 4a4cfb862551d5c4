import migrations


def test_the_schema_goes_up_down_and_up_again(empty_database_url):
    migrations.upgrade(empty_database_url)
    assert migrations.current(empty_database_url) == migrations.head()
    migrations.downgrade(empty_database_url)
    assert migrations.current(empty_database_url) is None
    migrations.upgrade(empty_database_url)
    assert migrations.current(empty_database_url) == migrations.head()


def test_the_tables_of_the_code_are_the_tables_of_the_database(database_url):
    migrations.check(database_url)
